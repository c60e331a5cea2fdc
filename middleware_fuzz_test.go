package authkit_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authkit-go/authkit"
)

// MW-02, RE-02: of all values of the header, those that let somebody in are "Bearer",
// in any case, one space, and the token, to the letter.
func FuzzAuthorization(f *testing.F) {
	kit := newKit(f)
	addUser(f, kit, "user@example.com", "correct horse")
	token := login(f, kit, "user@example.com", "correct horse")
	h := kit.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := authkit.PrincipalFrom(r.Context()); !ok {
			f.Error("passed, and is nobody")
		}
	}))
	for _, v := range []string{"", "Bearer", "Bearer ", "Bearer  x", "bearer x.y.z", "Basic dTpw", "Bearer a,b", "Bearer\tx", "\x00", "Bearer ..", strings.Repeat("Bearer ", 2000)} {
		f.Add(v)
	}
	f.Add("Bearer " + token)
	f.Add("bEARER TOKEN")
	f.Add("BEARER TOKEN=")
	f.Fuzz(func(t *testing.T, value string) {
		// The token of this process stands for whatever token the corpus was made with.
		value = strings.ReplaceAll(value, "TOKEN", token)
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{value}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		good := len(value) > 7 && strings.EqualFold(value[:7], "bearer ") && value[7:] == token
		if want := map[bool]int{true: 200, false: 401}[good]; w.Code != want {
			t.Errorf("%q: %d, want %d", value, w.Code, want)
		}
		if w.Code == 401 && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") {
			t.Error("a 401 without a challenge")
		}
	})
}
