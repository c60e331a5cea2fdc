package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/authkit-go/authkit"
)

// roleTable is every role of the service. None grants a permission: the demo's routes
// ask for roles. One line adds another.
func roleTable() map[string][]string {
	return map[string][]string{
		"admin":     {},
		"user":      {},
		"moderator": {},
		"editor":    {},
		"viewer":    {},
	}
}

// How long a login lasts: without a refresh, and however often it is refreshed.
const (
	sessionIdle     = 7 * 24 * time.Hour
	sessionAbsolute = 30 * 24 * time.Hour
)

// A server is the whole service.
type server struct {
	kit   *authkit.Kit
	users authkit.UserStore
	mux   *authkit.Mux
	log   *slog.Logger

	clients func(http.Handler) http.Handler // finds the client behind proxies
}

// newServer sets authkit up, fills the store, and registers every route with its policy.
func newServer(ctx context.Context, cfg config) (*server, error) {
	store := authkit.NewMemoryStore() // of accounts and sessions
	hasher := cfg.hasher
	if hasher == nil {
		hasher = authkit.Schemes(authkit.Bcrypt{Cost: cfg.cost}, authkit.PBKDF2SHA256{}, authkit.Argon2id{})
	}
	limits, err := newThrottle(cfg)
	if err != nil {
		return nil, err
	}
	limited, err := newThrottled(cfg, limits)
	if err != nil {
		return nil, err
	}
	config := authkit.Config{
		Secret:       cfg.secret,
		Users:        store,
		Sessions:     authkit.SessionConfig{Store: store, Idle: sessionIdle, Absolute: sessionAbsolute},
		Hasher:       hasher,
		Roles:        roleTable(),
		EmailSubject: true, // the tokens name the e-mail, as the clients expect
		OnEvent:      authkit.LogEvents(cfg.log),
	}
	if limits != nil {
		config.Throttle = limits
	}
	kit, err := authkit.New(config)
	if err != nil {
		return nil, err
	}
	if err := seed(ctx, kit, store, cfg); err != nil {
		return nil, err
	}
	mux := kit.NewMux()
	s := &server{kit: kit, users: store, mux: mux, log: cfg.log, clients: limited.all}

	for _, slash := range []string{"", "/{$}"} { // every path, with its trailing slash and without
		mux.Handle("POST /token"+slash, authkit.Public(), limited.login(kit.TokenHandler()))
		mux.Handle("POST /logout"+slash, authkit.Authenticated(), kit.LogoutHandler())
		mux.HandleFunc("GET /users/me"+slash, authkit.Authenticated(), s.me)
		mux.Handle("GET /users/me/sessions"+slash, authkit.Authenticated(), kit.SessionsHandler())
		mux.Handle("DELETE /users/me/sessions/{id}"+slash, authkit.Authenticated(), kit.SessionsHandler())
		mux.HandleFunc("GET /users/items"+slash, authkit.Authenticated(), s.items)
		mux.HandleFunc("GET /admin/users"+slash, authkit.Roles("admin"), s.listUsers)
		mux.HandleFunc("POST /admin/create_user"+slash, authkit.Roles("admin"), s.createUser)
		if cfg.generateHash {
			mux.Handle("POST /generate-hash"+slash, authkit.Public(), limited.hash(http.HandlerFunc(s.hashPassword)))
		}
		mux.HandleFunc("GET /healthz"+slash, authkit.Public(), s.health)
	}

	// But this one, or an empty ID would end all other sessions.
	mux.Handle("DELETE /users/me/sessions", authkit.Authenticated(), kit.SessionsHandler())

	document, err := openAPIDocument(slices.Sorted(maps.Keys(roleTable())), cfg.generateHash)
	if err != nil {
		return nil, err
	}
	return s, registerPages(mux, document, cfg.redocFile)
}

// handler returns the service as it is served.
func (s *server) handler() http.Handler { return observe(s.log, s.clients(s.mux)) }

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // a client that is gone cannot be told
}

// refuse answers with the faults of single fields.
func refuse(w http.ResponseWriter, r *http.Request, faults []authkit.FieldError) {
	authkit.ProblemFor(&authkit.ValidationError{Fields: faults}).ServeHTTP(w, r)
}

// health answers whoever watches over the server.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}
