package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/authkit-go/authkit/benchmarks/internal/harness"
	"github.com/authkit-go/authkit/benchmarks/internal/peers"
)

const (
	kit       = "authkit Kit"
	verifier  = "authkit TokenVerifier"
	noToken   = "authkit Kit, no token"
	shortJunk = "authkit Kit, 20 bytes of junk"
)

// guarded measures a valid request from a guard to a handler that responds with
// the subject.
func guarded(parallel bool) func(string, env) (harness.Section, error) {
	return func(name string, env env) (harness.Section, error) {
		guards, err := peers.Guards(env.keys)
		if err != nil {
			return harness.Section{}, err
		}
		return measure(guardGroup(name, guards, parallel, append(
			againstPeers(name, verifier, 0.30, 6),
			harness.Check{What: name + ", the Kit's look-up on top", Ours: kit},
		)), env)
	}
}

// guardedLookUp measures the same, with the user looked up in memory by every
// contender.
func guardedLookUp(parallel bool) func(string, env) (harness.Section, error) {
	return func(name string, env env) (harness.Section, error) {
		guards, err := peers.LookingUpGuards(env.keys)
		if err != nil {
			return harness.Section{}, err
		}
		return measure(guardGroup(name, guards, parallel, againstPeers(name, kit, 0.30, 6)), env)
	}
}

func guardGroup(name string, guards []peers.Guard, parallel bool, checks []harness.Check) harness.Group {
	g := harness.Group{
		Name: name, Parallel: parallel, Checks: checks,
		Work: "From Authorization header to a handler that answers the subject, an admin's role checked on the way.",
	}
	if parallel {
		g.Work += " On GOMAXPROCS goroutines at once; time is wall time per request."
	}
	for _, guard := range guards {
		c := requestTo(guard, guard.Name, guard.Prefix+guard.Tokens.Good, http.StatusOK)
		c.Note = guard.Note
		g.Contenders = append(g.Contenders, c)
	}
	return g
}

// refusals measures requests that every guard must refuse. The limit for a
// megabyte of header is relative to a request without a token.
func refusals() []bench {
	all := []bench{
		{"refuse a request: no token", refuse(
			func(peers.Guard) string { return "" },
			harness.Check{Ours: kit},
		)},
		{"refuse a request: bad signature", refuse(
			func(g peers.Guard) string { return g.Prefix + g.Tokens.BadSignature },
			harness.Check{Ours: kit, Max: 0.40, MaxAllocs: 5},
		)},
		{"refuse a request: expired", refuse(
			func(g peers.Guard) string { return g.Prefix + g.Tokens.Expired },
			harness.Check{Ours: kit, Max: 0.35, MaxAllocs: 8},
		)},
	}
	const mib = 1 << 20
	for _, form := range []struct {
		name  string
		value func(peers.Guard) string
	}{
		{"Bearer aaa…", func(g peers.Guard) string { return g.Prefix + strings.Repeat("a", mib) }},
		{"Bearer ...…", func(g peers.Guard) string { return g.Prefix + strings.Repeat(".", mib) }},
		{"Bearer, large payload", func(g peers.Guard) string { return g.Prefix + largeToken(mib) }},
		{"Bearer, good token and a tail", func(g peers.Guard) string { return g.Prefix + g.Tokens.Good + strings.Repeat("a", mib) }},
		{"Basic aaa…", func(g peers.Guard) string { return "Basic " + strings.Repeat("a", mib) }},
		{"no scheme", func(peers.Guard) string { return strings.Repeat("a", mib) }},
	} {
		all = append(all, bench{"refuse 1 MiB: " + form.name, refuse(form.value,
			harness.Check{Ours: kit, Against: noToken, Max: 1.5, MaxAllocs: harness.AsAgainst},
			harness.Check{What: "refuse 1 MiB: " + form.name + ", size alone", Ours: kit, Against: shortJunk},
		)})
	}
	return all
}

func refuse(value func(peers.Guard) string, checks ...harness.Check) func(string, env) (harness.Section, error) {
	return func(name string, env env) (harness.Section, error) {
		guards, err := peers.Guards(env.keys)
		if err != nil {
			return harness.Section{}, err
		}
		g := harness.Group{Name: name, Work: "A request that must be refused, answer written.", Checks: checks}
		for _, guard := range guards {
			g.Contenders = append(g.Contenders, requestTo(guard, guard.Name, value(guard), http.StatusUnauthorized))
			if guard.Name == kit && len(checks) > 1 {
				g.Contenders = append(g.Contenders,
					requestTo(guard, noToken, "", http.StatusUnauthorized),
					requestTo(guard, shortJunk, guard.Prefix+"abcdefghij.abcdefghi", http.StatusUnauthorized))
			}
		}
		return measure(g, env)
	}
}

// largeToken returns a token of about n bytes that is well-formed except for
// its signature.
func largeToken(n int) string {
	payload := `{"sub":"` + strings.Repeat("a", n*3/4) + `"}`
	return "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + strings.Repeat("A", 43)
}

// requestTo sends the same request to a guard repeatedly, with a reused writer.
func requestTo(guard peers.Guard, name, value string, want int) harness.Contender {
	return harness.Contender{Name: name, Kind: guard.Kind, New: func() func() error {
		w := &writer{header: http.Header{}}
		r := guard.Request(value)
		return func() error {
			w.reset()
			guard.Handler.ServeHTTP(w, r)
			if w.status != want && !(want == http.StatusUnauthorized && w.status == http.StatusBadRequest) {
				return fmt.Errorf("answered %d, not %d", w.status, want)
			}
			if want == http.StatusOK && w.written != len(peers.Subject) {
				return fmt.Errorf("answered %d bytes, not the subject", w.written)
			}
			return nil
		}
	}}
}

// A writer is an http.ResponseWriter that keeps only the status and the length
// of the response.
type writer struct {
	header  http.Header
	status  int
	written int
}

func (w *writer) reset() {
	clear(w.header)
	w.status, w.written = 0, 0
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *writer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.written += len(b)
	return len(b), nil
}

func (w *writer) WriteString(s string) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.written += len(s)
	return len(s), nil
}

func (w *writer) Flush() {} // gin's writer asks for it
