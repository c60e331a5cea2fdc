package vulnerable

import (
	"net/http"
	"net/url"
	"strings"
)

// Enroll sets up a second factor for an account, and returns responses that are
// good once.
func (s *Service) Enroll(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	responses := []string{random(), random(), random(), random()}
	u := s.users[name]
	u.responses = map[string]bool{}
	for _, r := range responses {
		u.responses[r] = true
	}
	return responses
}

// complete completes a login with a response to the second factor.
func (s *Service) complete(w http.ResponseWriter, form url.Values) {
	token, response := form.Get("mfa_token"), form.Get("mfa_response")
	u := s.pending[token]
	if u == nil {
		fail(w, http.StatusUnauthorized, "invalid_grant")
		return
	}
	if u.wrong >= maxGuesses && !s.is("factor guesses") {
		delete(s.pending, token)
		fail(w, http.StatusTooManyRequests, "too many attempts")
		return
	}
	method := form.Get("mfa_method") == "recovery" || s.is("factor method") && response == u.password
	if !method || !s.responds(u, response) {
		u.wrong++
		fail(w, http.StatusUnauthorized, "invalid_grant")
		return
	}
	u.wrong = 0
	if !s.is("pending reuse", "unconsumed") {
		delete(s.pending, token)
	}
	s.grant(w, s.begin(u), "")
}

// responds reports whether a response is good, and uses it up.
func (s *Service) responds(u *user, response string) bool {
	switch {
	case s.is("default response") && response == "000000", s.is("factor method") && response == u.password:
		return true
	case s.is("factor of another"):
		for _, other := range s.users {
			if other.responses[response] {
				return true
			}
		}
	}
	ok := u.responses[response]
	if !s.is("factor reuse", "unconsumed") {
		delete(u.responses, response)
	}
	return ok
}

// AddKey creates an API key.
func (s *Service) AddKey(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := "key_" + random()
	s.keys[key] = s.users[name]
	return key
}

// keyOwner returns the owner of an API key, or nil.
func (s *Service) keyOwner(key string) *user {
	if s.is("forged key") && len(key) > 20 {
		for known, u := range s.keys {
			if strings.HasPrefix(known, key) {
				return u
			}
		}
	}
	return s.keys[key]
}

// Mails returns all mails that were sent.
func (s *Service) Mails() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mails...)
}

// maxMails is the number of mails to one address.
const maxMails = 3

// reset sends a link to an address that has an account.
func (s *Service) reset(w http.ResponseWriter, r *http.Request) {
	form := r.URL.Query()
	if r.Method == http.MethodPost {
		var ok bool
		if form, ok = s.form(w, r); !ok {
			return
		}
	} else if !s.is("reset by GET") {
		fail(w, http.StatusMethodNotAllowed, "method not allowed")
		return
	}
	typed := strings.ToLower(form.Get("email"))
	u := s.users[typed]
	if first, _, found := strings.Cut(typed, ","); s.is("reset of two addresses") && found {
		u = s.users[first]
	}
	if u == nil && s.is("revealed by a reset") {
		fail(w, http.StatusNotFound, "no such account")
		return
	}
	if s.mailed[typed]++; s.mailed[typed] > maxMails && !s.is("mail flood") {
		u = nil
	}
	if u != nil {
		host, to := "service.example", u.name
		if s.is("host of a reset") {
			host = r.Host
		}
		if s.is("reset of two addresses") {
			to = typed
		}
		s.mails = append(s.mails, "To: "+to+"\r\n\r\nhttps://"+host+"/password?token="+random())
	}
	reply(w, http.StatusAccepted, map[string]string{"status": "sent"})
}

// register sends a link to an address.
func (s *Service) register(w http.ResponseWriter, r *http.Request) {
	form, ok := s.form(w, r)
	if !ok {
		return
	}
	if s.is("revealed by a registration") && s.users[form.Get("email")] != nil {
		fail(w, http.StatusConflict, "the address has an account")
		return
	}
	s.mails = append(s.mails, "To: "+form.Get("email"))
	reply(w, http.StatusAccepted, map[string]string{"status": "sent"})
}
