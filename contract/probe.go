package contract

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	maxRead     = 1 << 20 // bytes that are read of a response
	keptBody    = 2 << 10 // bytes of a body that are kept as evidence
	keptAnswers = 6       // exchanges that are kept as evidence
	maxWait     = 30 * time.Second
)

// A probe carries out attacks on a target.
type probe struct {
	*Target
	base   *url.URL
	client *http.Client
	stop   func()
	guard  Route // a GET route for LoggedIn

	fallback map[string][2]*answer // to an unknown path, by method
	works    map[string]error      // results of controls
	bodies   map[Route]*answer     // the last responses to good bodies

	requests int
	evidence []Exchange // of the attack in progress
	tokens   map[string]Tokens
	secrets  []string        // masked in evidence
	passive  map[string]leak // by the ID of a passive attack

	idTokens *bool // whether the service uses ID tokens; nil if that is not known
}

// A leak is a response that a passive attack found.
type leak struct {
	note     string
	exchange Exchange
}

// An Exchange is a request and its response, as evidence.
type Exchange struct {
	Request  string `json:"request"`
	Response string `json:"response"`
}

// A violated is the error of an attack that succeeded.
type violated struct{ note string }

func (v *violated) Error() string { return v.note }

func succeeded(format string, args ...any) error { return &violated{fmt.Sprintf(format, args...)} }

// An inapplicable is the error of an attack that does not apply.
type inapplicable struct{ note string }

func (n *inapplicable) Error() string { return n.note }

// newProbe checks a target, starts its handler, and logs its user in.
func newProbe(ctx context.Context, target Target) (*probe, error) {
	if err := target.problems(); err != nil {
		return nil, err
	}
	if target.LoginPath == "" {
		target.LoginPath = "/token"
	}
	p := &probe{Target: &target, stop: func() {}, tokens: map[string]Tokens{}, passive: map[string]leak{}, fallback: map[string][2]*answer{}, works: map[string]error{}, bodies: map[Route]*answer{}}
	p.guard = target.Routes[slices.IndexFunc(target.Routes, isGuardedGet)]
	for _, a := range []Account{target.User, target.Admin, target.Other} {
		p.hide(a.Password)
	}
	if len(target.Secret) > 0 {
		p.hide(spellings(target.Secret)...)
	}
	if target.Provider != nil {
		p.hide(target.Provider.ClientSecret)
	}
	base := target.BaseURL
	if target.Handler != nil {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("contract: serving Target.Handler: %w", err)
		}
		server := &http.Server{Handler: target.Handler, ReadHeaderTimeout: maxWait, ErrorLog: log.New(io.Discard, "", 0)}
		go func() { _ = server.Serve(listener) }()
		p.stop = func() { _ = server.Close() }
		base = "http://" + listener.Addr().String()
	}
	p.base, _ = url.Parse(strings.TrimSuffix(base, "/")) // problems has parsed it
	p.client = &http.Client{
		Timeout:       maxWait,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 32},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if err := p.ready(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *probe) close() {
	p.client.CloseIdleConnections()
	p.stop()
}

// carryOut carries out an attack.
func (p *probe) carryOut(ctx context.Context, a Attack) Result {
	result := Result{Attack: a, Outcome: Withstood}
	p.evidence = nil
	err := a.needs.missing(p.Target)
	switch {
	case err != nil:
	case a.run == nil:
		err = p.leaked(a.ID)
	default:
		if err = p.control(ctx, a); err == nil {
			p.evidence = nil
			err = a.run(ctx, p)
		}
	}
	if err == nil {
		return result
	}
	result.Note = p.mask(err.Error())
	if _, ok := errors.AsType[*violated](err); ok {
		result.Outcome = Succeeded
	} else if _, ok := errors.AsType[*inapplicable](err); ok {
		result.Outcome = NotApplicable
		return result
	} else {
		result.Outcome = Failed
	}
	result.Evidence = p.evidence
	return result
}

// hide masks a secret in all evidence from now on.
func (p *probe) hide(secrets ...string) {
	for _, s := range secrets {
		if len(s) >= 4 && !slices.Contains(p.secrets, s) {
			p.secrets = append(p.secrets, s)
		}
	}
}

// mask returns a text without the secrets.
func (p *probe) mask(text string) string {
	for _, s := range p.secrets {
		text = strings.ReplaceAll(text, s, "[redacted]")
		text = strings.ReplaceAll(text, url.QueryEscape(s), "[redacted]")
	}
	return signatures.ReplaceAllString(text, "$1.[redacted]")
}

// A message is a request to send.
type message struct {
	method, path string
	header       http.Header
	body         string
	trailer      http.Header
	host         string
}

// An answer is a response.
type answer struct {
	status int
	header http.Header
	body   string
}

// ok reports whether the request had success. A redirect is none.
func (a *answer) ok() bool { return a.status >= 200 && a.status < 300 }

// crashed reports whether the service could not handle the request. It may
// refuse a request for its size, or as one too many.
func (a *answer) crashed() bool {
	return a.status >= 500 && a.status != http.StatusServiceUnavailable && a.status != http.StatusNotImplemented &&
		a.status != http.StatusHTTPVersionNotSupported
}

// throttled reports whether the service refused to look at the request.
func (a *answer) throttled() bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable
}

// errThrottled is returned for a request that the service did not look at. The
// attack could have succeeded.
var errThrottled = errors.New("the service refused a request as one too many (status 429 or 503), so the attack proves nothing; " +
	"raise its limits for the tests, or set Target.Interval")

// send sends a request and records it.
func (p *probe) send(ctx context.Context, m message) (*answer, error) {
	if err := p.pause(ctx); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, m.method, p.base.String(), strings.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(m.path, "?")
	r.URL = &url.URL{Scheme: p.base.Scheme, Host: p.base.Host, Opaque: p.base.Path + path, RawQuery: query}
	if m.header != nil {
		r.Header = m.header.Clone()
	}
	if m.trailer != nil {
		r.Trailer, r.ContentLength = m.trailer, -1
	}
	r.Host = m.host
	response, err := p.client.Do(r)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // the URL that it names is not that of the message
	}
	if err != nil {
		p.record(m, nil, err)
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxRead))
	if err != nil && len(body) == 0 {
		p.record(m, nil, err)
		return nil, err
	}
	a := &answer{response.StatusCode, response.Header, string(body)}
	p.record(m, a, nil)
	return a, nil
}

// raw sends the bytes of a request line and headers as they are, which the
// client of net/http would correct. The connection is closed afterwards.
func (p *probe) raw(ctx context.Context, method, target string, header ...string) (*answer, error) {
	if err := p.pause(ctx); err != nil {
		return nil, err
	}
	m := message{method: method, path: target, header: http.Header{}}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ":")
		m.header.Add(name, strings.TrimSpace(value))
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(maxWait))
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: " + p.base.Host, "Connection: close"}, header...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		p.record(m, nil, err)
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		p.record(m, nil, err)
		return nil, err
	}
	defer response.Body.Close()
	var body []byte
	if response.StatusCode != http.StatusSwitchingProtocols { // which has no end
		body, _ = io.ReadAll(io.LimitReader(response.Body, maxRead))
	}
	a := &answer{response.StatusCode, response.Header, string(body)}
	p.record(m, a, nil)
	return a, nil
}

func (p *probe) dial(ctx context.Context) (net.Conn, error) {
	address := p.base.Host
	if p.base.Port() == "" {
		address = net.JoinHostPort(p.base.Hostname(), map[string]string{"http": "80", "https": "443"}[p.base.Scheme])
	}
	if p.base.Scheme == "https" {
		return (&tls.Dialer{Config: &tls.Config{NextProtos: []string{"http/1.1"}}}).DialContext(ctx, "tcp", address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// pause waits for Target.Interval, and counts a request.
func (p *probe) pause(ctx context.Context) error {
	p.requests++
	if p.Interval <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(p.Interval):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// record keeps an exchange as evidence, and looks for leaks in the response.
func (p *probe) record(m message, a *answer, err error) {
	e := Exchange{Request: p.mask(m.text())}
	if a == nil {
		e.Response = p.mask(err.Error())
	} else {
		e.Response = p.mask(a.text())
		p.listen(m, a, e)
	}
	p.evidence = append(p.evidence, e)
	if extra := len(p.evidence) - keptAnswers; extra > 0 {
		p.evidence = slices.Delete(p.evidence, 0, extra)
	}
}

// get sends a request to the guarded route with a token.
func (p *probe) get(ctx context.Context, token string) (*answer, error) {
	return p.send(ctx, message{method: p.guard.Method, path: p.guard.Path, header: bearer(token)})
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// refuse is an attack of one request: the service must refuse it, and not
// crash.
func (p *probe) refuse(ctx context.Context, m message) error {
	a, err := p.send(ctx, m)
	return p.refused(a, err)
}

// refused returns the error of an attack whose request must be refused.
func (p *probe) refused(a *answer, err error) error {
	switch {
	case err != nil && isHangUp(err):
		return succeeded("the service closed the connection without a response")
	case err != nil:
		return err
	case a.ok():
		return succeeded("the service accepted the request, with status %d", a.status)
	case a.crashed():
		return succeeded("the service could not handle the request: status %d", a.status)
	case a.throttled():
		return errThrottled
	}
	return nil
}

// form sends a form to the login path.
func (p *probe) form(ctx context.Context, values url.Values, header http.Header) (*answer, error) {
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for name, v := range header {
		h[name] = v
	}
	return p.send(ctx, message{method: http.MethodPost, path: p.LoginPath, header: h, body: values.Encode()})
}

func credentials(a Account) url.Values {
	return url.Values{"username": {a.Name}, "password": {a.Password}}
}

// logIn logs an account in.
func (p *probe) logIn(ctx context.Context, account Account) (Tokens, error) {
	tokens, err := p.loginTokens(ctx, account)
	if err == nil && p.Refresh && tokens.Refresh == "" {
		err = errors.New("Target.Refresh is true, and the login returns no refresh token")
	}
	return tokens, err
}

func (p *probe) loginTokens(ctx context.Context, account Account) (Tokens, error) {
	if p.LogIn != nil {
		tokens, err := p.LogIn(ctx, p.client, p.base.String(), account)
		p.hide(tokens.Refresh)
		return tokens, err
	}
	a, err := p.form(ctx, credentials(account), nil)
	if err != nil {
		return Tokens{}, err
	}
	return p.parseTokens(a)
}

func (p *probe) parseTokens(a *answer) (Tokens, error) {
	var body struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	switch location := a.header.Get("Location"); {
	case strings.HasPrefix(location, "https:") && p.base.Scheme == "http":
		return Tokens{}, fmt.Errorf("the response has status %d and redirects to https; use the handler behind that redirect, or a BaseURL with https", a.status)
	case !a.ok():
		return Tokens{}, fmt.Errorf("the response has status %d", a.status)
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Access == "" {
		return Tokens{}, errors.New("the response has no access_token")
	}
	p.hide(body.Refresh)
	return Tokens{body.Access, body.Refresh}, nil
}

// token returns an access token of an account. It logs in once.
func (p *probe) token(ctx context.Context, account Account) (string, error) {
	if t, ok := p.tokens[account.Name]; ok {
		return t.Access, nil
	}
	t, err := p.logIn(ctx, account)
	if err != nil {
		return "", err
	}
	p.tokens[account.Name] = t
	return t.Access, nil
}

// fresh returns an account that no other attack uses. Without
// Target.NewAccount it is Target.Other.
func (p *probe) fresh(ctx context.Context, password string) (Account, error) {
	if p.NewAccount == nil {
		return p.Other, nil
	}
	account, err := p.NewAccount(ctx, password)
	p.hide(account.Password)
	return account, err
}

// isHangUp reports whether the server has closed the connection.
func isHangUp(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "connection reset") || strings.Contains(text, "broken pipe") ||
		strings.Contains(text, "server closed idle connection") || strings.Contains(text, "malformed HTTP")
}
