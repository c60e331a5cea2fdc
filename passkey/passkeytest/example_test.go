package passkeytest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeytest"
)

// A program tests its login with an authenticator in software. In a test file,
// the function is called TestLogin.
func ExampleAuthenticator() {
	testLogin := func(t *testing.T, service http.Handler, register passkey.Options) {
		key := passkeytest.NewAuthenticator(t, "example.com", "https://example.com")
		credential := key.Create(register) // send it to /passkeys/register
		_ = credential

		w := httptest.NewRecorder()
		service.ServeHTTP(w, httptest.NewRequest("POST", "/passkeys/login/options", nil))
		var options passkey.Options
		if err := json.Unmarshal(w.Body.Bytes(), &options); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/passkeys/login", strings.NewReader(string(key.Get(options))))
		r.Header.Set("Content-Type", "application/json")
		w = httptest.NewRecorder()
		service.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("the login failed: %s", w.Body)
		}
	}
	_ = testLogin
}
