package authkit_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/authkit-go/authkit"
)

var benchKey = authkit.Key{Algorithm: authkit.HS256, Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")}

func benchTokens(b *testing.B) (*authkit.TokenIssuer, *authkit.TokenVerifier) {
	cfg := authkit.TokenConfig{Keys: []authkit.Key{benchKey}}
	issuer, err := authkit.NewTokenIssuer(cfg)
	if err != nil {
		b.Fatal(err)
	}
	verifier, err := authkit.NewTokenVerifier(cfg)
	if err != nil {
		b.Fatal(err)
	}
	return issuer, verifier
}

func BenchmarkIssue(b *testing.B) {
	issuer, _ := benchTokens(b)
	claims := authkit.Claims{Subject: "user@example.com", UserID: authkit.NewUserID(), Roles: []string{"admin", "user"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := issuer.Issue(claims); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	issuer, verifier := benchTokens(b)
	token, _ := issuer.Issue(authkit.Claims{Subject: "user@example.com", UserID: authkit.NewUserID(), Roles: []string{"admin", "user"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verifier.Verify(token); err != nil {
			b.Fatal(err)
		}
	}
}

// nowhere is an http.ResponseWriter that costs nothing.
type nowhere struct {
	header http.Header
	status int
}

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(status int)      { n.status = status }

func BenchmarkGuard(b *testing.B) {
	store := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Tokens: authkit.TokenConfig{Keys: []authkit.Key{benchKey}}, Users: store,
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
	})
	if err != nil {
		b.Fatal(err)
	}
	user, err := kit.CreateUser(b.Context(), authkit.User{Email: "user@example.com", Roles: []string{"admin", "user"}}, "correct horse")
	if err != nil {
		b.Fatal(err)
	}
	issuer, _ := benchTokens(b)
	good, _ := issuer.Issue(authkit.Claims{Subject: user.ID, Roles: user.Roles})
	h := kit.RequireRoles("admin")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := authkit.UserFrom(r.Context()); !ok {
			b.Fatal("nobody")
		}
		w.WriteHeader(204)
	}))
	for _, c := range []struct {
		name, header string
		status       int
	}{
		{"good", "Bearer " + good, 204},
		{"none", "", 401},
		{"bad signature", "Bearer " + good[:len(good)-2] + "AA", 401},
	} {
		b.Run(c.name, func(b *testing.B) {
			r, _ := http.NewRequest("GET", "/", nil)
			if c.header != "" {
				r.Header.Set("Authorization", c.header)
			}
			w := &nowhere{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
			if w.status != c.status {
				b.Fatal(w.status)
			}
		})
	}
}

func BenchmarkMemoryStoreLookUp(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		store := authkit.NewMemoryStore()
		ids := make([]string, n)
		for i := range n {
			ids[i] = authkit.NewUserID()
			err := store.CreateUser(b.Context(), authkit.StoredUser{User: authkit.User{
				ID: ids[i], Email: fmt.Sprintf("user%d@example.com", i), FullName: "A User", Roles: []string{"user"},
			}})
			if err != nil {
				b.Fatal(err)
			}
		}
		rand.Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for _, access := range []struct {
			name   string
			active int
		}{{"1000 active", 1000}, {"all active", n}} {
			b.Run(fmt.Sprintf("%d users/%s", n, access.name), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, err := store.UserByID(b.Context(), ids[i%access.active]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
