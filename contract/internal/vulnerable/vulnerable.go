// Package vulnerable has a small service that is safe, or has exactly one
// defect. It proves that each attack of package contract notices a service that
// does not withstand it.
package vulnerable

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
)

// A Service is a service with a login, sessions, a page for users and one for
// administrators. Make one with [New].
type Service struct {
	Secret []byte

	defect      string
	signer      *ecdsa.PrivateKey // of the key set; it signs nothing
	mu          sync.Mutex
	users       map[string]*user
	guesses     map[string]int // failed logins of a name since its last success
	refresh     map[string]*refresh
	cookies     map[string]*session
	devices     map[string]string // cookies of browsers that logged in, and their names
	ended       map[string]bool   // IDs of sessions
	pending     map[string]*user  // logins that lack the second factor
	keys        map[string]*user  // API keys
	client      *client           // of a provider of OpenID Connect, or nil
	orgs        map[string]*organization
	invitations map[string]*invitation // by token
	active      map[string]string      // organizations, by session
	mails       []string
	mailed      map[string]int // mails to an address
	hashes      int
	bad         int // requests with a bad token
}

// A user is an account.
type user struct {
	name, password string
	admin          bool
	disabled       bool
	unproved       bool            // the address is not verified
	since          int             // sessions with a smaller number have ended
	responses      map[string]bool // to the second factor
	wrong          int             // responses since the last success
}

// A session is one login of a user.
type session struct {
	id     string
	user   *user
	number int
	key    bool // an API key
}

// A refresh is a refresh token that was issued.
type refresh struct {
	*session
	parent    string
	successor string
	used      bool // its successor was used
}

// Names and passwords of the accounts.
const (
	UserName, UserPassword   = "user@example.com", "Password of the User 1"
	OtherName, OtherPassword = "other@example.com", "Password of the Other 2"
	AdminName, AdminPassword = "admin@example.com", "Password of the Admin 3"

	// Origin may read responses.
	Origin = "https://app.example.com"
)

// New returns a service with a defect, or without one if it is empty.
func New(defect string) *Service {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // never fails
	s := &Service{
		Secret: []byte(random()), defect: defect, signer: key,
		users: map[string]*user{
			UserName:  {name: UserName, password: UserPassword},
			OtherName: {name: OtherName, password: OtherPassword},
			AdminName: {name: AdminName, password: AdminPassword, admin: true},
		},
		guesses: map[string]int{}, refresh: map[string]*refresh{}, cookies: map[string]*session{}, devices: map[string]string{}, ended: map[string]bool{}, pending: map[string]*user{}, keys: map[string]*user{}, mailed: map[string]int{},
		orgs: map[string]*organization{}, invitations: map[string]*invitation{}, active: map[string]string{},
	}
	if s.is("common secret") {
		s.Secret = []byte("your-256-bit-secret")
	}
	return s
}

func (s *Service) is(defects ...string) bool { return slices.Contains(defects, s.defect) }

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Hashes returns how many passwords the service has hashed.
func (s *Service) Hashes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hashes
}

// AddUser adds an account, and returns its name.
func (s *Service) AddUser(password string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fmt.Sprintf("user-%d@example.com", len(s.users))
	s.users[name] = &user{name: name, password: password}
	return name
}

// Disable disables an account.
func (s *Service) Disable(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[name].disabled = true
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers(w, r)
	if tooLong(r) {
		status := http.StatusRequestHeaderFieldsTooLarge
		if s.is("long header") {
			status = http.StatusInternalServerError
		}
		fail(w, status, "too long")
		return
	}
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		if s.is("commas") && strings.Contains(r.Header.Get("Access-Control-Request-Headers"), ",,,,") {
			fail(w, http.StatusInternalServerError, "bad header")
			return
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if s.around(w, r) {
		return
	}
	if s.is("path of a host") && strings.HasPrefix(r.RequestURI, "//") {
		w.Header().Set("Location", strings.TrimSuffix(r.RequestURI, "/")+"/")
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	target := r.URL.EscapedPath()
	if r.Method == http.MethodConnect || !strings.HasPrefix(r.RequestURI, "/") || strings.HasPrefix(r.RequestURI, "//") {
		fail(w, http.StatusBadRequest, "bad request line")
		return
	}
	s.route(w, r, target)
}

func tooLong(r *http.Request) bool {
	n := len(r.RequestURI)
	for _, values := range r.Header {
		n += len(strings.Join(values, ""))
	}
	return n > 100_000
}

// route calls the handler of a path.
func (s *Service) route(w http.ResponseWriter, r *http.Request, target string) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if s.social(w, r, method, target) || s.organizations(w, r, method, target) {
		return
	}
	switch method + " " + target {
	case "GET /":
		s.index(w, r)
	case "GET /keys":
		point, _ := s.signer.PublicKey.Bytes()
		key := map[string]string{
			"kty": "EC", "crv": "P-256", "kid": "1", "x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
		}
		if s.is("private key set") {
			private, _ := s.signer.Bytes()
			key["d"] = base64.RawURLEncoding.EncodeToString(private)
		}
		reply(w, http.StatusOK, map[string]any{"keys": []any{key}})
	case "POST /token":
		s.token(w, r)
	case "GET /token":
		if !s.is("login in the URL", "refresh in the URL") {
			fail(w, http.StatusMethodNotAllowed, "method not allowed")
			return
		}
		s.token(w, r)
	case "POST /reset", "GET /reset":
		s.reset(w, r)
	case "POST /register":
		s.register(w, r)
	case "POST /login":
		s.cookieLogin(w, r)
	case "GET /me":
		s.guarded(w, r, false, s.me)
	case "POST /items":
		s.guarded(w, r, false, s.addItem)
	case "GET /admin":
		s.guarded(w, r, true, s.admin)
	case "POST /admin/users":
		s.guarded(w, r, true, s.addItem)
	case "POST /password":
		s.guarded(w, r, false, s.changePassword)
	case "POST /logout":
		s.logout(w, r)
	case "GET /logout":
		if !s.is("logout by GET") {
			fail(w, http.StatusMethodNotAllowed, "method not allowed")
			return
		}
		s.logout(w, r)
	default:
		s.unknown(w, r, target)
	}
}

// unknown responds to a request that fits no route.
func (s *Service) unknown(w http.ResponseWriter, r *http.Request, target string) {
	if s.is("method of admin") && target == "/admin" && r.Method != http.MethodGet {
		s.guarded(w, r, false, s.admin)
		return
	}
	if slices.Contains([]string{"/", "/me", "/admin", "/admin/users", "/items", "/token", "/login", "/password", "/logout", "/keys", "/reset", "/register"}, target) {
		fail(w, http.StatusMethodNotAllowed, "method not allowed")
		return
	}
	if s.is("script in a page") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, "<p>%s was not found</p>", r.URL.Path)
		return
	}
	fail(w, http.StatusNotFound, "not found")
}

// page is the data that only users may see.
func (s *Service) page(w http.ResponseWriter, route string) bool {
	switch route {
	case "/me":
		reply(w, http.StatusOK, map[string]string{"name": UserName})
	case "/admin":
		reply(w, http.StatusOK, []string{UserName, AdminName})
	default:
		return false
	}
	return true
}

// around serves a page without its guard, if the defect is one that lets a
// request pass it. It reports whether it did.
func (s *Service) around(w http.ResponseWriter, r *http.Request) bool {
	raw, _, _ := strings.Cut(r.RequestURI, "?")
	open := func(ok bool) bool { return ok && s.page(w, r.URL.Path) }
	switch s.defect {
	case "absolute":
		return open(strings.HasPrefix(r.RequestURI, "http://"))
	case "HEAD":
		return open(r.Method == http.MethodHead)
	case "OPTIONS":
		return open(r.Method == http.MethodOptions)
	case "CONNECT":
		return r.Method == http.MethodConnect && s.page(w, "/me")
	case "TRACE":
		if r.Method == http.MethodTrace {
			reply(w, http.StatusOK, r.Header)
			return true
		}
	case "unknown method":
		return open(!slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}, r.Method))
	case "method override":
		return open(r.Header.Get("X-HTTP-Method-Override") == http.MethodGet)
	case "rewrite":
		return s.page(w, r.Header.Get("X-Original-URL"))
	case "WebSocket":
		return open(r.Header.Get("Upgrade") == "websocket")
	case "h2c":
		return open(r.Header.Get("Upgrade") == "h2c")
	case "trailer":
		if raw == "/me" {
			_, _ = readAll(r)
			return open(strings.HasPrefix(r.Trailer.Get("Authorization"), "Bearer eyJ"))
		}
	}
	if read, ok := readings[s.defect]; ok {
		if other := read(raw); other != raw {
			return s.page(w, other)
		}
	}
	return false
}

// readings are the ways in which a handler reads a path that its guard reads as
// it is.
var readings = map[string]func(string) string{
	"path slashes":    func(p string) string { return path.Clean(p) },
	"path dots":       func(p string) string { return path.Clean(strings.ReplaceAll(p, "%2e", ".")) },
	"path slash":      func(p string) string { return path.Clean(strings.NewReplacer("%2f", "/", "%2F", "/").Replace(p)) },
	"path backslash":  func(p string) string { return path.Clean(strings.NewReplacer("%5c", "/", `\`, "/").Replace(p)) },
	"path double":     func(p string) string { return unescape(unescape(p)) },
	"path letter":     unescape,
	"path case":       strings.ToLower,
	"path parameters": func(p string) string { return strings.Split(p, ";")[0] },
	"path suffix":     func(p string) string { return strings.TrimSuffix(p, path.Ext(p)) },
	"path control":    func(p string) string { return strings.Split(p, "%00")[0] },
}

// index is the page for everyone.
func (s *Service) index(w http.ResponseWriter, r *http.Request) {
	next := r.URL.Query().Get("next")
	switch {
	case s.is("redirect") && next != "":
		w.Header().Set("Location", next)
		w.WriteHeader(http.StatusSeeOther)
		return
	case s.is("split") && strings.Contains(next, "\r\nX-Contract: "):
		w.Header().Set("X-Contract", "split") // net/http itself removes line breaks
	case s.is("host"):
		reply(w, http.StatusOK, map[string]string{"url": "http://" + r.Host + "/"})
		return
	case s.is("forwarded host"):
		reply(w, http.StatusOK, map[string]string{"url": "http://" + r.Header.Get("X-Forwarded-Host") + "/"})
		return
	case s.is("token in a location") && next != "":
		w.Header().Set("Location", "/?access_token=x")
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	if limit := r.URL.Query().Get("limit"); s.is("page") && limit == "-1" {
		fail(w, http.StatusInternalServerError, "bad limit")
		return
	}
	if !s.is("frame") {
		w.Header().Add("Content-Security-Policy", "frame-ancestors 'none'")
	}
	if !s.is("scripts") {
		w.Header().Add("Content-Security-Policy", "default-src 'self'")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<!doctype html><p>hello</p>"))
}

// headers sets the headers of every response.
func (s *Service) headers(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if !s.is("sniff") {
		h.Set("X-Content-Type-Options", "nosniff")
	}
	if !s.is("store") {
		h.Set("Cache-Control", "no-store")
	}
	if s.is("version") {
		h.Set("Server", "service/1.2.3")
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	if !s.is("vary") {
		h.Set("Vary", "Origin")
	}
	allowed := origin == Origin
	switch s.defect {
	case "any origin", "any origin with credentials":
		allowed = origin != "null"
	case "null origin":
		allowed = allowed || origin == "null"
	case "similar origin":
		allowed = strings.HasPrefix(origin, Origin)
	case "other scheme":
		allowed = strings.HasSuffix(origin, "://app.example.com")
	case "preflight":
		allowed = allowed || r.Method == http.MethodOptions
	}
	if !allowed {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if s.is("any origin with credentials") {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// reply responds with JSON.
func reply(w http.ResponseWriter, status int, value any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// fail responds with an error.
func fail(w http.ResponseWriter, status int, text string) {
	reply(w, status, map[string]string{"error": text})
}

var errRefused = errors.New("refused")
