package vulnerable

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxGuesses is the number of failures after which a name is blocked.
const maxGuesses = 8

// authenticate returns the account of a form, or nil after it has responded.
func (s *Service) authenticate(w http.ResponseWriter, r *http.Request, form url.Values) *user {
	name, password := strings.ToLower(form.Get("username")), form.Get("password")
	if s.is("basic") && name == "" {
		name, password, _ = r.BasicAuth()
	}
	if s.is("injection") && strings.Contains(name+password, "' OR '1'='1") {
		return s.users[UserName]
	}
	if s.is("arrays") && form.Has("password[$ne]") {
		return s.users[UserName]
	}
	if name == "" || password == "" && !s.is("empty password") {
		fail(w, http.StatusUnprocessableEntity, "username and password are required")
		return nil
	}
	if s.is("bytes of a password") && !utf8.ValidString(name+password) || s.is("long password") && len(password) > 72 {
		fail(w, http.StatusInternalServerError, "hash failed")
		return nil
	}
	if s.is("look-alike name") {
		name = strings.ReplaceAll(name, "\u017f", "s")
	}
	u := s.users[name]
	key, blocked := s.limit(r, form.Get("username"), name, u)
	if blocked && !(s.is("right password of a blocked name") && u != nil && password == u.password) {
		fail(w, http.StatusTooManyRequests, "too many attempts")
		return nil
	}
	ok := s.compare(u, password)
	if ok && u.disabled && !s.is("login of a disabled user") {
		fail(w, http.StatusBadRequest, "inactive user")
		return nil
	}
	if !ok {
		s.guesses[key]++
		s.refuseLogin(w, u, password)
		return nil
	}
	delete(s.guesses, key)
	return u
}

// limit returns the name under which failures are counted, and whether it is
// blocked.
func (s *Service) limit(r *http.Request, typed, name string, u *user) (key string, blocked bool) {
	key = name
	switch {
	case s.is("no limit"), s.is("limit of known names") && u == nil:
		return key, false
	case s.is("limit by forwarded address"):
		key = r.Header.Get("X-Forwarded-For")
		return key, key == "" && s.guesses[name] >= maxGuesses || s.guesses[key] >= maxGuesses
	case s.is("limit by typed name"):
		key = typed
	}
	if device, err := r.Cookie("device"); err == nil && s.devices[device.Value] == name && !s.is("victim") {
		key = device.Value
	}
	return key, s.guesses[key] >= maxGuesses
}

// compare reports whether a password is that of an account. It takes the same
// work if there is none.
func (s *Service) compare(u *user, password string) bool {
	if u == nil && s.is("work of an unknown name") {
		return false
	}
	s.hashes++
	if u == nil {
		return false
	}
	right := u.password
	switch s.defect {
	case "trimmed password":
		password = strings.TrimSpace(password)
	case "case of a password":
		password, right = strings.ToLower(password), strings.ToLower(right)
	case "empty password":
		if password == "" {
			return true
		}
	case "NUL in a password":
		password, _, _ = strings.Cut(password, "\x00")
	case "truncated password":
		password, right = password[:min(72, len(password))], right[:min(72, len(right))]
	}
	return password == right
}

// refuseLogin responds to a wrong password.
func (s *Service) refuseLogin(w http.ResponseWriter, u *user, password string) {
	text, status := "incorrect username or password", http.StatusUnauthorized
	switch {
	case s.is("status of an unknown name") && u == nil:
		status = http.StatusNotFound
	case s.is("body of an unknown name") && u == nil:
		text = "no such user"
	case s.is("header of an unknown name") && u == nil:
		w.Header().Set("X-Reason", "unknown")
	case s.is("revealed disabled user") && u != nil && u.disabled:
		text = "inactive user"
	case s.is("echo"):
		text = "incorrect password " + password
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	fail(w, status, text)
}

const sessionCookieName = "__Host-session"

// sessionCookie returns the session of the cookie of a request, or nil.
func (s *Service) sessionCookie(r *http.Request) *session {
	name := sessionCookieName
	if s.is("prefix of a cookie") {
		name = "session"
	}
	c, err := r.Cookie(name)
	if err != nil {
		return nil
	}
	if s.is("forged cookie") && len(c.Value) > 10 {
		for value, of := range s.cookies {
			if strings.HasPrefix(value, c.Value) {
				return of
			}
		}
	}
	return s.cookies[c.Value]
}

// sameOrigin reports whether a request with a cookie is of a page of the
// service.
func (s *Service) sameOrigin(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	own := origin == "" || origin == "http://"+r.Host
	upgrade := r.Header.Get("Upgrade") != ""
	if r.Method == http.MethodGet && !upgrade {
		return true
	}
	switch s.defect {
	case "WebSocket of another site":
		return upgrade || own
	case "cross-site request":
		return true
	case "origin alone":
		return site == "" || site == "same-origin"
	case "origin null":
		return own || origin == "null"
	case "same site":
		return own || site == "same-site"
	}
	return own && (site == "" || site == "same-origin" || site == "none")
}

// cookieLogin sets a session cookie.
func (s *Service) cookieLogin(w http.ResponseWriter, r *http.Request) {
	if own := r.Header.Get("Origin"); own != "http://"+r.Host && !s.is("login of another site") {
		fail(w, http.StatusForbidden, "cross-origin request")
		return
	}
	form, ok := s.form(w, r)
	if !ok {
		return
	}
	u := s.authenticate(w, r, form)
	if u == nil {
		return
	}
	c := &http.Cookie{Name: sessionCookieName, Value: random(), Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	switch s.defect {
	case "cookie for scripts":
		c.HttpOnly = false
	case "cookie without TLS":
		c.Secure = false
	case "cookie for other sites":
		c.SameSite = http.SameSiteNoneMode
	case "prefix of a cookie":
		c.Name = "session"
	case "size of a cookie":
		c.Value += strings.Repeat("x", 5000)
	case "fixation":
		if old, err := r.Cookie(sessionCookieName); err == nil {
			c.Value = old.Value
		}
	}
	s.cookies[c.Value] = s.begin(u)
	http.SetCookie(w, c)
	w.WriteHeader(http.StatusNoContent)
}
