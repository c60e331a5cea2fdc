package contract_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/contract"
)

// A stateless service keeps no sessions. Its tokens name the account in a claim
// of another name, and are equal for all logins of a day. Its session cookie has
// the token. Its logout revokes the refresh token of the form.
type stateless struct {
	mu      sync.Mutex
	refresh map[string]string // to the name of the account
}

var statelessKey = []byte("2b7e151628aed2a6abf7158809cf4f3c")

func (s *stateless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "POST /token":
		name := r.PostFormValue("username")
		if r.PostFormValue("grant_type") == "refresh_token" {
			name = s.refresh[r.PostFormValue("refresh_token")]
		} else if r.PostFormValue("password") != "the password of "+name {
			name = ""
		}
		if name == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		expiry := time.Now().Add(24 * time.Hour).Truncate(24 * time.Hour)
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"name": name, "exp": expiry.Unix()}).SignedString(statelessKey)
		if err != nil {
			panic(err)
		}
		s.refresh["refresh-"+name] = name
		http.SetCookie(w, &http.Cookie{Name: "jwt", Value: token})
		_ = json.NewEncoder(w).Encode(map[string]string{"access_token": token, "refresh_token": "refresh-" + name})
	case "POST /logout":
		delete(s.refresh, r.PostFormValue("refresh_token"))
	case "GET /me":
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if c, err := r.Cookie("jwt"); !ok && err == nil {
			token = c.Value
		}
		_, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return statelessKey, nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// A stateless service is not blamed for another form of its tokens.
func TestStatelessService(t *testing.T) {
	account := func(name string) contract.Account {
		return contract.Account{Name: name, Password: "the password of " + name}
	}
	for id, want := range map[string]contract.Outcome{
		"claim.no-subject":       contract.NotApplicable,
		"claim.subject-type":     contract.NotApplicable,
		"claim.subject-unknown":  contract.NotApplicable,
		"claim.subject-pattern":  contract.NotApplicable,
		"claim.case":             contract.Withstood,
		"header.cookie":          contract.Withstood,
		"cookie.fixation":        contract.Withstood,
		"session.logout-refresh": contract.Withstood,
		"session.logout-access":  contract.Succeeded,
		"session.same-token":     contract.Succeeded,
	} {
		t.Run(id, func(t *testing.T) {
			r, err := contract.CheckOne(t.Context(), contract.Target{
				Handler: &stateless{refresh: map[string]string{}}, User: account("user"), Other: account("other"),
				Routes: []contract.Route{{Method: "GET", Path: "/me", Access: contract.LoggedIn}},
				Secret: statelessKey, Refresh: true, LogoutPath: "/logout", CookiePath: "/token",
			}, id)
			require.NoError(t, err)
			assert.Equal(t, want, r.Outcome, r.Note)
		})
	}
}
