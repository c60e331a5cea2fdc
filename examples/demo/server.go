package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"slices"

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

// A server holds what the handlers need.
type server struct {
	kit   *authkit.Kit
	users authkit.UserStore
	log   *slog.Logger
}

// newServer returns the whole service as a handler.
func newServer(ctx context.Context, cfg config) (http.Handler, error) {
	mux, err := newMux(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return observe(cfg.log, mux), nil
}

// newMux sets authkit up, fills the store, and registers every route with its policy.
func newMux(ctx context.Context, cfg config) (*authkit.Mux, error) {
	users := authkit.NewMemoryStore()
	hasher := cfg.hasher
	if hasher == nil {
		hasher = authkit.Schemes(authkit.Bcrypt{Cost: cfg.cost}, authkit.PBKDF2SHA256{}, authkit.Argon2id{})
	}
	kit, err := authkit.New(authkit.Config{
		Secret:       cfg.secret,
		Users:        users,
		Hasher:       hasher,
		Roles:        roleTable(),
		EmailSubject: true, // the tokens name the e-mail, as the clients expect
		OnEvent:      authkit.LogEvents(cfg.log),
	})
	if err != nil {
		return nil, err
	}
	if err := seed(ctx, kit, users, cfg); err != nil {
		return nil, err
	}
	s := &server{kit: kit, users: users, log: cfg.log}

	mux := kit.NewMux()
	for _, slash := range []string{"", "/{$}"} { // every path, with its trailing slash and without
		mux.Handle("POST /token"+slash, authkit.Public(), kit.TokenHandler())
		mux.HandleFunc("GET /users/me"+slash, authkit.Authenticated(), s.me)
		mux.HandleFunc("GET /users/items"+slash, authkit.Authenticated(), s.items)
		mux.HandleFunc("GET /admin/users"+slash, authkit.Roles("admin"), s.listUsers)
		mux.HandleFunc("POST /admin/create_user"+slash, authkit.Roles("admin"), s.createUser)
		if cfg.generateHash {
			mux.HandleFunc("POST /generate-hash"+slash, authkit.Public(), s.hashPassword)
		}
		mux.HandleFunc("GET /healthz"+slash, authkit.Public(), s.health)
	}

	document, err := openAPIDocument(slices.Sorted(maps.Keys(roleTable())), cfg.generateHash)
	if err != nil {
		return nil, err
	}
	return mux, registerPages(mux, document, cfg.redocFile)
}

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
