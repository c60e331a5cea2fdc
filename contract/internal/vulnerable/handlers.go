package vulnerable

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// readAll reads a body, up to the limit of the service.
func readAll(r *http.Request) ([]byte, error) { return io.ReadAll(io.LimitReader(r.Body, 200<<20)) }

// credential returns the token of a request.
func (s *Service) credential(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	query := r.URL.Query().Get("access_token")
	switch {
	case s.is("two headers") && len(values) > 1:
		values = values[:1]
	case s.is("query") && query != "":
		return query, true
	case s.is("key in the URL") && r.URL.Query().Has("api_key"):
		return r.URL.Query().Get("api_key"), true
	case s.is("body"):
		if body, _ := readAll(r); len(body) > 0 {
			form, _ := url.ParseQuery(string(body))
			return form.Get("access_token"), true
		}
	case s.is("cookie"):
		if c, err := r.Cookie("access_token"); err == nil {
			return c.Value, true
		}
	case s.is("other header") && r.Header.Get("X-Access-Token") != "":
		return r.Header.Get("X-Access-Token"), true
	}
	if len(values) != 1 {
		return "", false
	}
	fields := strings.FieldsFunc(values[0], func(c rune) bool { return c == ' ' || c == ',' })
	switch {
	case s.is("more text in the header") && len(fields) > 2:
		return fields[1], true
	case s.is("scheme") && len(fields) > 0:
		return fields[len(fields)-1], true
	case s.is("empty token") && len(fields) == 1:
		return "", true
	}
	scheme, token, found := strings.Cut(values[0], " ")
	return token, found && strings.EqualFold(scheme, "Bearer")
}

// caller returns the session of a request, or nil after it has responded.
func (s *Service) caller(w http.ResponseWriter, r *http.Request) *session {
	switch {
	case s.is("open"):
		return &session{id: "open", user: s.users[UserName]}
	case s.is("identity") && r.Header.Get("X-Remote-User") != "":
		return &session{id: "header", user: s.users[AdminName]}
	case s.is("loopback") && r.Header.Get("X-Forwarded-For") == "127.0.0.1":
		return &session{id: "loopback", user: s.users[UserName]}
	case s.is("basic") && strings.HasPrefix(r.Header.Get("Authorization"), "Basic "):
		return &session{id: "basic", user: s.users[UserName]}
	}
	if c := s.sessionCookie(r); c != nil && (r.Header.Get("Authorization") == "" || s.is("two credentials")) {
		if !s.sameOrigin(r) {
			fail(w, http.StatusForbidden, "cross-origin request")
			return nil
		}
		return c
	}
	token, ok := s.credential(r)
	if !ok {
		if !s.is("challenge") {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		fail(w, http.StatusUnauthorized, "not authenticated")
		return nil
	}
	if s.is("empty token") && token == "" {
		return &session{id: "empty", user: s.users[UserName]}
	}
	if s.is("shut out") && s.bad > 500 {
		fail(w, http.StatusTooManyRequests, "too many bad tokens")
		return nil
	}
	of, err := s.verify(token)
	if u := s.keyOwner(token); u != nil && (!u.disabled || s.is("key of a disabled user")) {
		return &session{id: "key", user: u, key: true}
	}
	switch {
	case err != nil && s.is("pending as token") && s.pending[token] != nil:
		return s.begin(s.pending[token])
	case err != nil && s.is("refresh as access") && s.refresh[token] != nil:
		return s.refresh[token].session
	case err != nil && s.is("cookie as token") && s.cookies[token] != nil:
		return s.cookies[token]
	case err != nil:
		s.bad++
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		if s.is("no reason") {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		fail(w, http.StatusUnauthorized, s.problem())
		return nil
	}
	return of
}

// problem is the text for a bad token. With a defect it reveals something.
func (s *Service) problem() string {
	switch s.defect {
	case "leaked stack":
		return "goroutine 1 [running]: main.main() /app/main.go:12"
	case "leaked statement":
		return "ERROR: syntax error at or near \"x\" (SQLSTATE 42601)"
	case "leaked type":
		return "json: cannot unmarshal string into Go value of type jwt.Claims"
	case "leaked file":
		return "open /home/service/keys/1.pem"
	case "leaked secret":
		return "wrong signature for " + string(s.Secret)
	}
	return "invalid token"
}

// guarded calls a handler for a user who may use it.
func (s *Service) guarded(w http.ResponseWriter, r *http.Request, admin bool, next func(http.ResponseWriter, *http.Request, *session)) {
	if s.is("body first") && r.Method == http.MethodPost && r.URL.Path != "/password" {
		var value map[string]any
		body, _ := readAll(r)
		if json.Unmarshal(body, &value) != nil {
			fail(w, http.StatusBadRequest, "bad body")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	of := s.caller(w, r)
	if of == nil {
		return
	}
	isAdmin := of.user.admin || of.key && s.is("key of an administrator") || s.is("open admin") || s.is("role of an organization") && s.ownsAny(of.user) || s.is("role header") && r.Header.Get("X-Role") == "admin"
	if s.is("refused admin") {
		isAdmin = false
	}
	if admin && !isAdmin {
		status := http.StatusForbidden
		if s.is("status of a user") {
			status = http.StatusUnauthorized
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		fail(w, status, "not enough permissions")
		return
	}
	next(w, r, of)
}

func (s *Service) me(w http.ResponseWriter, r *http.Request, of *session) {
	if r.Header.Get("Upgrade") == "websocket" {
		w.WriteHeader(http.StatusSwitchingProtocols)
		return
	}
	data := map[string]any{"name": of.user.name}
	switch s.defect {
	case "leaked hash":
		data["credential"] = "$2a$12$abcdefghijklmnopqrstuv"
	case "leaked password":
		data["credential"] = of.user.password
	case "leaked member":
		data["password_hash"] = "5f4dcc3b"
	case "type of a response":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	}
	reply(w, http.StatusOK, data)
}

func (s *Service) admin(w http.ResponseWriter, _ *http.Request, _ *session) {
	reply(w, http.StatusOK, []string{UserName, AdminName})
}

// addItem reads a JSON object with a name.
func (s *Service) addItem(w http.ResponseWriter, r *http.Request, of *session) {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") && !s.is("type of a body") {
		fail(w, http.StatusUnsupportedMediaType, "want JSON")
		return
	}
	var body io.Reader = r.Body
	if s.is("no limits") && r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			fail(w, http.StatusBadRequest, "bad body")
			return
		}
		body = unzipped
	}
	limit := int64(64 << 10)
	if s.is("no limits") {
		limit = 1 << 30
	}
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil || int64(len(text)) > limit {
		fail(w, http.StatusRequestEntityTooLarge, "body too large")
		return
	}
	var item struct {
		Name string
		Role string
	}
	switch {
	case s.is("deep body") && bytes.Count(text, []byte("[")) > 1000: // like a parser whose recursion is limited
		fail(w, http.StatusInternalServerError, "internal error")
		return
	case s.is("malformed body"):
		err = json.NewDecoder(bytes.NewReader(text)).Decode(&item)
	case s.is("no limits"):
		err = json.Unmarshal(text, &item)
	case !plain(text) || !utf8.Valid(text) && !s.is("NUL in a body"):
		err = errRefused
	default:
		err = json.Unmarshal(text, &item)
	}
	if err != nil || item.Name == "" || strings.ContainsAny(item.Name, "\x00\ufffd") && !s.is("NUL in a body") {
		fail(w, http.StatusBadRequest, "bad body")
		return
	}
	if s.is("mass assignment") && item.Role == "admin" {
		of.user.admin = true
	}
	w.WriteHeader(http.StatusCreated)
}

// form reads a form of a request.
func (s *Service) form(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	limit := int64(16 << 10)
	if s.is("no limits") {
		limit = 1 << 30
	}
	contentType := r.Header.Get("Content-Type")
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case err != nil:
		if s.is("hang up") {
			s.guesses[UserName]++
		}
		return nil, false
	case int64(len(body)) > limit:
		fail(w, http.StatusRequestEntityTooLarge, "form too large")
		return nil, false
	case strings.HasPrefix(contentType, "multipart/form-data") && s.is("no limits"):
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.ParseMultipartForm(1<<30) != nil {
			fail(w, http.StatusBadRequest, "bad form")
			return nil, false
		}
		return r.MultipartForm.Value, true
	case contentType != "application/x-www-form-urlencoded" && !s.is("type of a form"):
		fail(w, http.StatusUnsupportedMediaType, "want a form")
		return nil, false
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		fail(w, http.StatusBadRequest, "bad form")
		return nil, false
	}
	if s.is("login in the URL", "refresh in the URL") {
		for name, values := range r.URL.Query() {
			form[name] = append(form[name], values...)
		}
	}
	for name, values := range form {
		if len(values) > 1 && !s.is("field twice", "refresh twice") {
			fail(w, http.StatusBadRequest, name+" is there twice")
			return nil, false
		}
	}
	return form, true
}

// token is the token endpoint.
func (s *Service) token(w http.ResponseWriter, r *http.Request) {
	form, ok := s.form(w, r)
	if !ok {
		return
	}
	if s.is("cached login") {
		w.Header().Del("Cache-Control")
	}
	switch grant := form.Get("grant_type"); {
	case grant == "mfa":
		s.complete(w, form)
	case grant == "refresh_token":
		s.exchange(w, form.Get("refresh_token"))
	case grant == "" || grant == "password" || s.is("grant type"):
		s.logIn(w, r, form)
	default:
		fail(w, http.StatusBadRequest, "unsupported_grant_type")
	}
}

// logIn responds with tokens.
func (s *Service) logIn(w http.ResponseWriter, r *http.Request, form url.Values) {
	u := s.authenticate(w, r, form)
	if u == nil {
		return
	}
	if u.responses != nil && !s.is("factor skipped") {
		token := random()
		s.pending[token] = u
		reply(w, http.StatusBadRequest, map[string]any{"error": "mfa_required", "mfa_token": token})
		return
	}
	if next := form.Get("next"); s.is("redirect after login") && next != "" {
		w.Header().Set("Location", next)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	of := s.begin(u)
	s.remember(w, u)
	s.grant(w, of, "")
}

// grant responds with the tokens of a session.
func (s *Service) grant(w http.ResponseWriter, of *session, parent string) {
	token := random()
	if s.is("same token") {
		token = "the same"
	}
	s.refresh[token] = &refresh{session: of, parent: parent}
	if p := s.refresh[parent]; p != nil {
		p.successor = token
	}
	reply(w, http.StatusOK, map[string]any{"access_token": s.issue(of), "refresh_token": token, "token_type": "bearer", "expires_in": 3600})
}

func (s *Service) begin(u *user) *session { return &session{id: random(), user: u, number: u.since} }

// remember sets a cookie by which a later login is known to come from the same
// browser.
func (s *Service) remember(w http.ResponseWriter, u *user) {
	device := random()
	s.devices[device] = u.name
	http.SetCookie(w, &http.Cookie{Name: "device", Value: device, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
}

// exchange responds to a refresh token.
func (s *Service) exchange(w http.ResponseWriter, token string) {
	t := s.refresh[token]
	if s.is("forged refresh") && t == nil && len(token) > 10 {
		for known, value := range s.refresh {
			if strings.HasPrefix(known, token) {
				t = value
			}
		}
	}
	if u := s.pending[token]; s.is("pending as refresh") && u != nil {
		t = &refresh{session: s.begin(u)}
	}
	if u := s.keys[token]; s.is("key as refresh") && u != nil {
		t = &refresh{session: s.begin(u)}
	}
	if t == nil && s.is("access as refresh") {
		if of, err := s.verify(token); err == nil {
			t = &refresh{session: of}
		}
	}
	if t == nil || s.over(t) {
		fail(w, http.StatusUnauthorized, "invalid_grant")
		return
	}
	if s.is("no rotation") {
		reply(w, http.StatusOK, map[string]any{"access_token": s.issue(t.session), "refresh_token": token})
		return
	}
	if t.used && !s.is("refresh reuse") {
		if !s.is("refresh family") {
			s.ended[t.id] = true
		}
		fail(w, http.StatusUnauthorized, "invalid_grant")
		return
	}
	if p := s.refresh[t.parent]; p != nil {
		p.used = true
	}
	if t.successor != "" && !s.is("refresh race", "refresh reuse") {
		reply(w, http.StatusOK, map[string]any{"access_token": s.issue(t.session), "refresh_token": t.successor})
		return
	}
	s.grant(w, t.session, token)
}

// over reports whether the session of a refresh token has ended.
func (s *Service) over(t *refresh) bool {
	return s.ended[t.id] && !s.is("refresh after logout") ||
		t.user.disabled && !s.is("refresh of a disabled user") ||
		t.number < t.user.since && !s.is("refresh after a new password")
}

func (s *Service) logout(w http.ResponseWriter, r *http.Request) {
	if token, ok := s.credential(r); ok && s.is("logout without credentials") {
		if parts := strings.Split(token, "."); len(parts) == 3 {
			if of, err := s.accept(parts[1]); err == nil {
				s.ended[of.id] = true
			}
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	of := s.caller(w, r)
	if of == nil {
		return
	}
	if of.key && !s.is("key ends sessions") {
		fail(w, http.StatusForbidden, "log in")
		return
	}
	s.ended[of.id] = true
	if s.is("logout of others") {
		for _, u := range s.users {
			u.since++
		}
	}
	if of.key {
		of.user.since++
	}
	for value, c := range s.cookies {
		if c.id == of.id && !s.is("cookie after logout") {
			delete(s.cookies, value)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Service) changePassword(w http.ResponseWriter, r *http.Request, of *session) {
	if of.key && !s.is("key sets passwords") {
		fail(w, http.StatusForbidden, "log in")
		return
	}
	text, _ := readAll(r)
	form, err := url.ParseQuery(string(text))
	if err != nil || form.Get("new_password") == "" {
		fail(w, http.StatusBadRequest, "bad form")
		return
	}
	if form.Get("current_password") != of.user.password && !s.is("new password without the old") {
		fail(w, http.StatusForbidden, "wrong password")
		return
	}
	of.user.password = form.Get("new_password")
	of.user.since++
	for value, c := range s.cookies {
		if c.user == of.user && !s.is("cookie after a new password") {
			delete(s.cookies, value)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}
