package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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
	stormLength = 3 * time.Second
	stormRounds = 3
	stormWarmUp = 300 * time.Millisecond
	// The wait of a client after a 503, far shorter than its Retry-After.
	stormPause = 100 * time.Millisecond
)

// storm measures how 64 clients that log in repeatedly affect the guarded
// requests of another client, over real connections: with the library's gate
// for hashes, and with a login handler without one.
func storm(name string, env env) (harness.Section, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(loginPassword), 12)
	if err != nil {
		return harness.Section{}, err
	}
	gated, err := gatedServer(env.keys, hash)
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
	sides := []*stormSide{
		{Name: "authkit Kit", handler: gated},
		{Name: "golang-jwt, bcrypt without a gate", handler: open},
	}
	for round := range stormRounds {
		env.cfg.Progress("%s: round %d of %d", name, round+1, stormRounds)
		for i := range sides {
			if err := sides[(i+round)%len(sides)].round(tokens.Good); err != nil {
				return harness.Section{}, err
			}
		}
	}
	s := harness.Section{
		Name: name,
		Work: fmt.Sprintf("One client sends guarded requests over a kept-alive loopback connection, while nothing else happens and while %d "+
			"clients log in without end (bcrypt, cost 12; %v pause after a 503). Server and clients share this process. %d rounds of %v.",
			stormLogins, stormPause, stormRounds, stormLength),
		Head: []string{"server", "request, idle", "request, storm", "ratio", "99th percentile, storm", "requests answered",
			"logins 200", "503 with Retry-After", "503 without", "other"},
		Details: sides,
	}
	for _, side := range sides {
		side.conclude()
		s.Rows = append(s.Rows, []string{
			side.Name, harness.Nanoseconds(side.Idle), harness.Nanoseconds(side.Storm), harness.Ratio(side.Storm / side.Idle),
			harness.Nanoseconds(side.Storm99), strconv.Itoa(side.Answered), strconv.Itoa(side.LoggedIn),
			strconv.Itoa(side.TurnedAway), strconv.Itoa(side.TurnedAwayBadly), strconv.Itoa(side.Other),
		})
	}
	s.Verdicts = []harness.Verdict{{
		What: name + ": a guarded request, storm against idle", Ours: sides[0].Name, OursNs: sides[0].Storm,
		Against: "the same, idle", AgainstNs: sides[0].Idle, Ratio: sides[0].Storm / sides[0].Idle, Allocs: -1, Met: true,
	}}
	return s, nil
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
	Idle            float64 `json:"idle_ns"`
	Storm           float64 `json:"storm_ns"`
	Storm99         float64 `json:"storm_p99_ns"`
	Answered        int     `json:"requests_answered_in_storm"`
	LoggedIn        int     `json:"logins_200"`
	TurnedAway      int     `json:"logins_503_retry_after"`
	TurnedAwayBadly int     `json:"logins_503_without_retry_after"`
	Other           int     `json:"logins_other"`

	handler      http.Handler
	idles, busys []float64
	mu           sync.Mutex // guards the counts of logins
}

func (s *stormSide) conclude() {
	s.Idle, s.Storm = harness.Median(s.idles), harness.Median(s.busys)
	s.Storm99, s.Answered = harness.Quantile(s.busys, 0.99), len(s.busys)
}

// round measures an idle period and a storm on a new server.
func (s *stormSide) round(token string) error {
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
	busys, err := request(base+"/hello", token, stormLength)
	stop()
	clients.Wait()
	s.busys = append(s.busys, busys...)
	return err
}

// request sends guarded requests one after the other for d and returns how long
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
