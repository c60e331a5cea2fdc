package authkittest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
)

// In a test, t is its *testing.T.
func Example() {
	t := authkittest.Example{}
	var events authkittest.Recorder
	kit := authkittest.NewKit(t, events.Listen)
	mux := kit.NewMux()
	mux.HandleFunc("GET /reports", authkit.Roles("auditor"), func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		_, _ = fmt.Fprint(w, "reports for ", p.Email)
	})

	for _, role := range []string{"auditor", "guest"} {
		w := httptest.NewRecorder()
		user := authkittest.User(t, kit, role)
		mux.ServeHTTP(w, authkittest.Request(t, kit, user, "GET", "/reports", nil))
		fmt.Println(user.Email, w.Code)
	}
	all := events.Take()
	last := all[len(all)-1]
	fmt.Println(last.Kind, last.Reason)
	// Output:
	// auditor1@example.com 200
	// guest1@example.com 403
	// authz_fail missing_role
}
