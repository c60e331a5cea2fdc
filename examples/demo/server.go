package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/examples/demo/internal/apidocs"
	"github.com/authkit-go/authkit/oidclogin"
	"github.com/authkit-go/authkit/org"
)

// roleTable returns every role of the service. Most routes of the demo require
// roles. The permission is for API keys. One line adds another role.
func roleTable() map[string][]string {
	return map[string][]string{
		"admin":     {"items:read"},
		"user":      {"items:read"},
		"moderator": {},
		"editor":    {},
		"viewer":    {},
	}
}

// The life of a login: without a refresh, and in total.
const (
	sessionIdle     = 7 * 24 * time.Hour
	sessionAbsolute = 30 * 24 * time.Hour
)

// storeTimeout limits a call of a database or of Redis. A login makes up to three that hang:
// the throttle waits for one second before the login and one after it, so that an answer takes
// at most five seconds beside the hash.
const storeTimeout = 3 * time.Second

// A server is the whole service.
type server struct {
	kit     *authkit.Kit
	store   *storage
	audit   *audit.Log
	account *account.Accounts
	orgs    *org.Orgs
	keys    *apikey.Keys
	factors *factors
	monitor *monitor
	mux     *authkit.Mux
	log     *slog.Logger
	wrap    func(http.Handler) http.Handler // the middleware for all routes

	clients func(http.Handler) http.Handler // determines the address of clients behind proxies
	ready   *readiness
}

// newServer opens the storage and sets up the service.
func newServer(ctx context.Context, cfg config) (*server, error) {
	store, err := openStorage(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, err := newServerOn(ctx, cfg, store)
	if err != nil {
		return nil, errors.Join(err, store.close())
	}
	return s, nil
}

// anyLife is the maximum life of a token: a century. The documented system has
// no limit, and the demo accepts its tokens. A service of your own should keep
// the default of one hour.
const anyLife = 100 * 365 * 24 * time.Hour

// newServerOn sets up authkit, fills the store, and registers every route with
// its policy.
func newServerOn(ctx context.Context, cfg config, store *storage) (*server, error) {
	if store.orgs == nil {
		store.orgs = org.NewMemoryStore()
	}
	hasher := cfg.hasher
	if hasher == nil {
		hasher = authkit.Schemes(authkit.Bcrypt{Cost: cfg.cost}, authkit.PBKDF2SHA256{}, authkit.Argon2id{})
	}
	auditLog, err := openAudit(cfg, store)
	if err != nil {
		return nil, err
	}
	monitor, err := newMonitor()
	if err != nil {
		return nil, err
	}
	limits, err := newThrottle(cfg, store.attempts, fanOut(authkit.LogEvents(cfg.log), auditLog.OnEvent, monitor.OnEvent))
	if err != nil {
		return nil, err
	}
	limited, err := newThrottled(cfg, limits)
	if err != nil {
		return nil, err
	}
	passkeys, err := newPasskeyFactor(cfg, store)
	if err != nil {
		return nil, err
	}
	factors, err := newFactors(cfg, store, passkeys)
	if err != nil {
		return nil, err
	}
	var accounts *account.Accounts
	config := authkit.Config{
		Secret:       cfg.secret,
		Tokens:       authkit.TokenConfig{MaxLifetime: anyLife},
		StoreTimeout: storeTimeout,
		Users:        store.users,
		Sessions:     authkit.SessionConfig{Store: store.sessions, IdleTimeout: sessionIdle, AbsoluteTimeout: sessionAbsolute},
		Passwords:    authkit.PasswordConfig{Hasher: hasher},
		Roles:        roleTable(),
		EmailSubject: true, // the subject is the e-mail, as clients expect
		OnEvent: []func(context.Context, authkit.Event){
			auditLog.OnEvent, monitor.OnEvent,
			func(ctx context.Context, e authkit.Event) { accounts.OnEvent(ctx, e) }, // mails about changes of factors
		},
		Logger: cfg.log,

		SecondFactors:  []authkit.SecondFactor{factors.app, passkeys, factors.recovery},
		TrustedDevices: factors.devices,
		UserData:       []authkit.UserData{factors.app, passkeys, factors.recovery, org.UserData(store.orgs)},
	}
	if limits != nil {
		config.Throttle = limits
	}
	if len(cfg.providers) > 0 {
		config.Sessions.Cookies = &authkit.SessionCookieConfig{LoginPath: "/login"}
		config.UserData = append(config.UserData, oidclogin.UserData(store.identities))
	}
	keyAuth, err := newKeys(store, config.Throttle)
	if err != nil {
		return nil, err
	}
	config.Authenticators, config.UserData, config.Clients = []authkit.Authenticator{keyAuth}, append(config.UserData, keyAuth), keyAuth
	kit, err := authkit.New(config)
	if err != nil {
		return nil, err
	}
	monitor.Observe(kit)
	monitor.ObserveAudit(auditLog)
	if err := seed(ctx, kit, cfg); err != nil {
		return nil, err
	}
	mailer, err := newMailer(cfg)
	if err != nil {
		return nil, err
	}
	accounts, err = newAccounts(cfg, kit, store, mailer)
	if err != nil {
		return nil, err
	}
	social, err := newSocial(cfg, kit, store.identities, mailer)
	if err != nil {
		return nil, err
	}
	orgs, err := newOrgs(cfg, kit, store, mailer)
	if err != nil {
		return nil, err
	}
	wrap, err := around(cfg)
	if err != nil {
		return nil, err
	}
	mux := kit.NewMux()
	s := &server{kit: kit, store: store, audit: auditLog, account: accounts, orgs: orgs, monitor: monitor, mux: mux, log: cfg.log, factors: factors, wrap: wrap, clients: limited.all, ready: &readiness{store: store}}

	for _, slash := range []string{"", "/{$}"} { // every path with and without its trailing slash
		mux.Handle("POST /token"+slash, authkit.Public(), limited.login(kit.TokenHandler()))
		mux.Handle("POST /logout"+slash, authkit.Authenticated(), kit.LogoutHandler())
		mux.HandleFunc("GET /users/me"+slash, authkit.Authenticated(), s.me)
		mux.Handle("GET /users/me/sessions"+slash, authkit.Authenticated(), kit.SessionsHandler())
		mux.Handle("DELETE /users/me/sessions/{id}"+slash, authkit.Authenticated(), kit.EndSessionHandler())
		mux.Handle("POST /users/me/password"+slash, authkit.Authenticated(), kit.ChangePasswordHandler())
		mux.HandleFunc("GET /users/items"+slash, authkit.Authenticated(), s.items)
		mux.HandleFunc("GET /admin/users"+slash, authkit.Roles("admin"), s.listUsers)
		mux.Handle("GET /admin/audit"+slash, authkit.Roles("admin"), auditLog.Handler())
		mux.HandleFunc("POST /admin/create_user"+slash, authkit.Roles("admin"), s.createUser)
		mux.Handle("GET /metrics"+slash, authkit.Roles("admin"), monitor.handler())
		if cfg.generateHash {
			mux.Handle("POST /generate-hash"+slash, authkit.Public(), limited.hash(http.HandlerFunc(s.hashPassword)))
		}
		mux.HandleFunc("GET /healthz"+slash, authkit.Public(), s.health)
		mux.HandleFunc("GET /readyz"+slash, authkit.Public(), s.ready.serve)
	}

	// This path has no trailing slash: with one it would look like an empty ID.
	mux.Handle("DELETE /users/me/sessions", authkit.Authenticated(), kit.EndOtherSessionsHandler())

	accounts.Mount(mux)
	if social != nil {
		social.mount(mux)
	}
	factors.mount(mux, kit)
	if err := mountPasskeys(mux, kit, passkeys); err != nil {
		return nil, err
	}
	s.mountOrgs(orgs)
	if s.keys, err = mountKeys(mux, kit, keyAuth); err != nil {
		return nil, err
	}

	document, err := apidocs.Document(slices.Sorted(maps.Keys(roleTable())), cfg.generateHash, social != nil)
	if err != nil {
		return nil, err
	}
	return s, apidocs.Register(mux, document, cfg.redocFile)
}

// run deletes what has expired, sends mails and writes the audit log, until ctx ends. The error
// tells how many entries of the log were left unwritten, or lost because too many waited.
func (s *server) run(ctx context.Context) error {
	var tasks sync.WaitGroup
	var err error
	tasks.Go(func() { _ = s.kit.Run(ctx) })
	tasks.Go(func() { _ = s.account.Run(ctx) })
	tasks.Go(func() { _ = s.orgs.Run(ctx) })
	tasks.Go(func() { _ = s.keys.Run(ctx) })
	tasks.Go(func() { _ = s.factors.devices.Run(ctx) })
	tasks.Go(func() { err = s.audit.Run(ctx) })
	tasks.Wait()
	if err == ctx.Err() { // nothing else is joined to it
		err = nil
	}
	if lost := s.audit.Stats().Lost; lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d events were lost while the store was slow", lost))
	}
	return err
}

// handler returns the service with all middleware.
func (s *server) handler() http.Handler { return s.wrap(s.clients(s.factors.devices.Handler(s.mux))) }

// writeJSON responds with a JSON value.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // an error means that the client is gone
}

// refuse responds with the problems of single fields.
func refuse(w http.ResponseWriter, r *http.Request, faults []authkit.FieldError) {
	authkit.ProblemFor(&authkit.ValidationError{Fields: faults}).ServeHTTP(w, r)
}

// health reports that the process is alive, even if the stores are not. A
// restart would not help the stores.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}
