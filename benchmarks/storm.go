package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/benchmarks/internal/harness"
	"github.com/authkit-go/authkit/benchmarks/internal/peers"
	"golang.org/x/crypto/bcrypt"
)

const (
	stormLogins = 64
	stormIdle   = time.Second
	stormLength = 5 * time.Second
	stormRounds = 3
	stormWarmUp = 300 * time.Millisecond
	// The wait of a client after a 503, far shorter than its Retry-After.
	stormPause = 100 * time.Millisecond
	// The guarded requests come at this interval: back to back they would take a core from the hashes, and be measured
	// together with what they do to themselves.
	stormEvery = 5 * time.Millisecond
)

// storm measures how 64 clients that log in repeatedly affect the guarded
// requests of another client, over real connections, and how many of them log
// in: with the library's gate for hashes, with and without a spare processor of
// the scheduler, and with a login handler without a gate. Bare bcrypt gives the
// most logins that the machine can do.
func storm(name string, env env) (harness.Section, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(loginPassword), 12)
	if err != nil {
		return harness.Section{}, err
	}
	open, err := openServer(env.keys, hash)
	if err != nil {
		return harness.Section{}, err
	}
	tokens, err := peers.NewTokens(peers.HS256, env.keys, nil)
	if err != nil {
		return harness.Section{}, err
	}
	procs := runtime.GOMAXPROCS(0)
	gated := func() (http.Handler, error) { return gatedServer(env.keys, hash) }
	sides := []*stormSide{
		{Name: fmt.Sprintf("authkit Kit, GOMAXPROCS=%d (one to spare)", procs+1), procs: procs + 1, newHandler: gated},
		{Name: fmt.Sprintf("authkit Kit, GOMAXPROCS=%d", procs), procs: procs, newHandler: gated},
		{Name: "golang-jwt, bcrypt without a gate", procs: procs, newHandler: func() (http.Handler, error) { return open, nil }},
	}
	bare := 0.0 // logins a second
	for round := range stormRounds {
		env.cfg.Progress("%s: round %d of %d", name, round+1, stormRounds)
		rate, err := bareLogins(hash)
		if err != nil {
			return harness.Section{}, err
		}
		bare += rate / stormRounds
		for i := range sides {
			if err := sides[(i+round)%len(sides)].round(tokens.Good); err != nil {
				return harness.Section{}, err
			}
		}
	}
	s := harness.Section{
		Name: name,
		Work: fmt.Sprintf("One client sends a guarded request every %v over a kept-alive loopback connection, while nothing else happens and "+
			"while %d clients log in without end (bcrypt, cost 12; %v pause after a 503). Server and clients share this process. %d rounds of %v. "+
			"Bare bcrypt on as many goroutines as cores does %.1f a second.",
			stormEvery, stormLogins, stormPause, stormRounds, stormLength, bare),
		Head: []string{"server", "logins/s", "of bare bcrypt", "request, idle", "storm", "ratio", "99th percentile, idle", "storm", "ratio",
			"requests answered", "503 with Retry-After", "503 without", "other"},
		Details: sides,
	}
	for _, side := range sides {
		side.conclude()
		s.Rows = append(s.Rows, []string{
			side.Name, fmt.Sprintf("%.1f", side.Rate), harness.Ratio(side.Rate / bare),
			harness.Nanoseconds(side.Idle), harness.Nanoseconds(side.Storm), harness.Ratio(side.Storm / side.Idle),
			harness.Nanoseconds(side.Idle99), harness.Nanoseconds(side.Storm99), harness.Ratio(side.Storm99 / side.Idle99),
			strconv.Itoa(side.Answered), strconv.Itoa(side.TurnedAway), strconv.Itoa(side.TurnedAwayBadly), strconv.Itoa(side.Other),
		})
	}
	ours := sides[0]
	verdict := func(what string, ns float64, against string, againstNs, limit float64) {
		s.Verdicts = append(s.Verdicts, harness.Verdict{
			What: name + ": " + what, Ours: ours.Name, OursNs: ns, Against: against, AgainstNs: againstNs,
			Ratio: ns / againstNs, Max: limit, Allocs: -1, Met: ns/againstNs <= limit,
		})
	}
	verdict("time per login", 1e9/ours.Rate, "bare bcrypt", 1e9/bare, 1.11) // 0.90 of the logins
	verdict("a guarded request", ours.Storm, "the same, idle", ours.Idle, 2)
	verdict("a guarded request, 99th percentile", ours.Storm99, "the same, idle", ours.Idle99, 10)
	return s, nil
}

// bareLogins returns how many hashes a second all cores compare when they do nothing else.
func bareLogins(hash []byte) (perSecond float64, err error) {
	workers := runtime.GOMAXPROCS(0)
	rates, errs := make([]float64, workers), make([]error, workers)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			began, n := time.Now(), 0
			for ; time.Since(began) < stormLength && errs[i] == nil; n++ {
				errs[i] = bcrypt.CompareHashAndPassword(hash, []byte(loginPassword))
			}
			rates[i] = float64(n) / time.Since(began).Seconds()
		})
	}
	all.Wait()
	for _, rate := range rates {
		perSecond += rate
	}
	return perSecond, errors.Join(errs...)
}

func gatedServer(keys peers.Keys, hash []byte) (http.Handler, error) {
	kit, err := kitWithLogin(keys, hash)
	if err != nil {
		return nil, err
	}
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.HandleFunc("GET /hello", authkit.Roles(peers.Role), func(w http.ResponseWriter, r *http.Request) {
		u, _ := authkit.UserFrom(r.Context())
		io.WriteString(w, u.ID)
	})
	return mux, nil
}

// openServer is a server around golang-jwt, as commonly written: a guard, and a
// login handler that hashes without a limit.
func openServer(keys peers.Keys, hash []byte) (http.Handler, error) {
	guards, err := peers.Guards(keys)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for _, g := range guards {
		if g.Slug == "golang-jwt" {
			mux.Handle("GET /hello", g.Handler)
		}
	}
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if bcrypt.CompareHashAndPassword(hash, []byte(r.PostFormValue("password"))) != nil {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		io.WriteString(w, `{"access_token":"not measured","token_type":"bearer"}`)
	})
	return mux, nil
}

// A stormSide is one server under the storm, with its results. Times are
// nanoseconds.
type stormSide struct {
	Name            string  `json:"name"`
	Rate            float64 `json:"logins_per_second"`
	Idle            float64 `json:"idle_ns"`
	Storm           float64 `json:"storm_ns"`
	Idle99          float64 `json:"idle_p99_ns"`
	Storm99         float64 `json:"storm_p99_ns"`
	Answered        int     `json:"requests_answered_in_storm"`
	LoggedIn        int     `json:"logins_200"`
	TurnedAway      int     `json:"logins_503_retry_after"`
	TurnedAwayBadly int     `json:"logins_503_without_retry_after"`
	Other           int     `json:"logins_other"`

	procs        int                          // GOMAXPROCS
	newHandler   func() (http.Handler, error) // called with that GOMAXPROCS
	handler      http.Handler
	idles, busys []float64
	rates        []float64  // logins a second, by round
	mu           sync.Mutex // guards the counts of logins
}

func (s *stormSide) conclude() {
	s.Idle, s.Storm = harness.Median(s.idles), harness.Median(s.busys)
	s.Idle99, s.Storm99 = harness.Quantile(s.idles, 0.99), harness.Quantile(s.busys, 0.99)
	s.Answered = len(s.busys)
	for _, rate := range s.rates {
		s.Rate += rate / float64(len(s.rates))
	}
}

// round measures an idle period and a storm on a new server.
func (s *stormSide) round(token string) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(s.procs))
	if s.handler == nil {
		handler, err := s.newHandler()
		if err != nil {
			return err
		}
		s.handler = handler
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	defer server.Close()
	base := "http://" + listener.Addr().String()

	idles, err := request(base+"/hello", token, stormIdle)
	if err != nil {
		return err
	}
	s.idles = append(s.idles, idles...)

	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	transport := &http.Transport{MaxIdleConnsPerHost: stormLogins}
	defer transport.CloseIdleConnections()
	for range stormLogins {
		clients.Go(func() { s.logIn(ctx, &http.Client{Transport: transport}, base+"/token") })
	}
	time.Sleep(stormWarmUp)
	before, began := s.loggedIn(), time.Now()
	busys, err := request(base+"/hello", token, stormLength)
	s.rates = append(s.rates, float64(s.loggedIn()-before)/time.Since(began).Seconds())
	stop()
	clients.Wait()
	s.busys = append(s.busys, busys...)
	return err
}

func (s *stormSide) loggedIn() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.LoggedIn
}

// request sends a guarded request every stormEvery for d and returns how long
// each took.
func request(url, token string, d time.Duration) ([]float64, error) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var took []float64
	for end := time.Now().Add(d); time.Now().Before(end); {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		start := time.Now()
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != peers.Subject {
			return nil, fmt.Errorf("guarded request: %s, %q, %v", resp.Status, body, err)
		}
		took = append(took, float64(time.Since(start).Nanoseconds()))
		time.Sleep(stormEvery - time.Since(start))
	}
	return took, nil
}

// logIn logs in repeatedly until ctx is done, and counts the responses.
func (s *stormSide) logIn(ctx context.Context, client *http.Client, target string) {
	form := url.Values{"username": {loginEmail}, "password": {loginPassword}}.Encode()
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := client.Do(req)
		if err != nil {
			continue // ctx ended, or the loop ends soon
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		s.count(resp)
		if resp.StatusCode == http.StatusServiceUnavailable {
			select {
			case <-ctx.Done():
			case <-time.After(stormPause):
			}
		}
	}
}

func (s *stormSide) count(resp *http.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case resp.StatusCode == http.StatusOK:
		s.LoggedIn++
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		s.TurnedAway++
	case resp.StatusCode == http.StatusServiceUnavailable:
		s.TurnedAwayBadly++
	default:
		s.Other++
	}
}
