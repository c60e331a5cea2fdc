package peers

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
)

// A Guard is an http.Handler of one library that admits only administrators. It
// reads the token from the request, verifies it and checks the role. Its inner
// handler reads the subject from the context and responds with it.
type Guard struct {
	Name    string
	Slug    string // its name on a command line
	Kind    Kind
	Note    string // shown under the table
	Handler http.Handler
	Tokens  Tokens
	// Header and Prefix locate the token: Authorization and "Bearer ", except
	// for one peer.
	Header, Prefix string
}

// Request returns a request with value as its credential, or without one if
// value is empty. The caller adds the prefix.
func (g Guard) Request(value string) *http.Request {
	r, err := http.NewRequest(http.MethodGet, "http://localhost/hello", nil)
	if err != nil {
		panic(err) // the URL is constant
	}
	r.RemoteAddr = "127.0.0.1:4711"
	r.RequestURI = "/hello"
	if value != "" {
		r.Header[g.Header] = []string{value}
	}
	return r
}

// GoodRequest returns a request that the guard must let through.
func (g Guard) GoodRequest() *http.Request { return g.Request(g.Prefix + g.Tokens.Good) }

// Guards returns every contender, authkit first.
func Guards(keys Keys) ([]Guard, error) {
	var all []Guard
	for _, make := range []func(Keys) ([]Guard, error){
		authkitGuards, handGuards,
		pascaldekloeGuards, ginGuards, echoGuards, chiGuards, auth0Guards, pkgzGuards,
	} {
		guards, err := make(keys)
		if err != nil {
			return nil, err
		}
		all = append(all, guards...)
	}
	return withDefaults(all, keys)
}

// withDefaults sets the common header and tokens of guards that have none.
func withDefaults(guards []Guard, keys Keys) ([]Guard, error) {
	tokens, err := NewTokens(HS256, keys, nil)
	if err != nil {
		return nil, err
	}
	for i := range guards {
		g := &guards[i]
		if g.Header == "" {
			g.Header, g.Prefix = "Authorization", "Bearer "
		}
		if g.Tokens == (Tokens{}) {
			g.Tokens = tokens
		}
	}
	return guards, nil
}

// Unguarded returns the inner handler without a guard.
func Unguarded() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, Subject) })
}

// handGuards puts hand-written middleware around each library without
// middleware.
func handGuards(keys Keys) ([]Guard, error) {
	return guardsByHand(keys, func(verify func(string) (Identity, error)) func(string) (Identity, error) { return verify })
}

// LookingUpGuards returns the contenders that also look the user up in memory
// on every request: authkit, and hand-written guards around each library. They
// use the roles of the account.
func LookingUpGuards(keys Keys) ([]Guard, error) {
	kits, err := kitGuards(keys)
	if err != nil {
		return nil, err
	}
	users := newAccounts()
	hands, err := guardsByHand(keys, users.check)
	if err != nil {
		return nil, err
	}
	return withDefaults(append(kits, hands...), keys)
}

func guardsByHand(keys Keys, wrap func(verify func(string) (Identity, error)) func(string) (Identity, error)) ([]Guard, error) {
	codecs, err := Codecs(HS256, keys)
	if err != nil {
		return nil, err
	}
	var guards []Guard
	for _, c := range codecs {
		if c.Kind == Ours || c.VerifyString == nil && c.VerifyBytes == nil {
			continue
		}
		slug, _, _ := strings.Cut(c.Name, ":")
		guards = append(guards, Guard{
			Name:    "by hand: " + c.Name,
			Slug:    strings.NewReplacer(", ", "-", " ", "-").Replace(slug),
			Kind:    c.Kind,
			Handler: handGuard(wrap(c.Verify), requireRole(Role, http.HandlerFunc(answerIdentity))),
		})
	}
	return guards, nil
}

type identityKey struct{}

func handGuard(verify func(string) (Identity, error), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			unauthorized(w, "Bearer")
			return
		}
		id, err := verify(token)
		if err != nil {
			unauthorized(w, `Bearer error="invalid_token"`)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, &id)))
	})
}

func unauthorized(w http.ResponseWriter, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, "Unauthorized", http.StatusUnauthorized)
}

func requireRole(role string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := r.Context().Value(identityKey{}).(*Identity)
		if !ok || !slices.Contains(id.Roles, role) {
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answerIdentity(w http.ResponseWriter, r *http.Request) {
	id := r.Context().Value(identityKey{}).(*Identity)
	io.WriteString(w, id.Subject)
}
