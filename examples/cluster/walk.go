package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A walker is a client that prints its requests. Unlike a real client, it has
// the addresses of the instances.
type walker struct {
	out       io.Writer
	instances []*instance
	proxy     string
	oneLimit  bool // whether the instances count attempts together
	step      int
}

// tokens is the response to a login or a refresh.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (w *walker) say(format string, args ...any) {
	w.step++
	fmt.Fprintf(w.out, "%d. "+format+"\n", append([]any{w.step}, args...)...)
}

// through runs all steps. It returns an error for an unexpected response.
func (w *walker) through(ctx context.Context) error {
	a, b, c := w.instances[0].url, w.instances[1].url, w.instances[2].url
	w.say("log in on A")
	t, err := w.token(ctx, a, url.Values{"username": {"user@example.com"}, "password": {"user123"}}, 200)
	if err != nil {
		return err
	}
	w.say("use the token on B and C: any request may go to any instance")
	for _, at := range []string{b, c} {
		if err := w.expect(ctx, "GET", at+"/users/me/", t.Access, 200); err != nil {
			return err
		}
	}
	w.say("refresh the same token on A and B at once: one rotates it, the other delivers the same successor")
	if t, err = w.refreshOnBoth(ctx, a, b, t.Refresh); err != nil {
		return err
	}
	w.say("log out on C: refused on A at the next request, and so is a refresh on B")
	if err := w.expect(ctx, "POST", c+"/logout", t.Access, 204); err != nil {
		return err
	}
	if err := w.expect(ctx, "GET", a+"/users/me/", t.Access, 401); err != nil {
		return err
	}
	if _, err := w.token(ctx, b, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.Refresh}}, 400); err != nil {
		return err
	}
	if w.oneLimit {
		if err := w.guess(ctx); err != nil {
			return err
		}
	}
	return w.killB(ctx)
}

// guess guesses the password of an account on all instances, until each
// refuses. Then the right password must be refused too.
func (w *walker) guess(ctx context.Context) error {
	w.say("guess another account's password five times, on A, B and C: they count together")
	for i := range 5 {
		if _, err := w.token(ctx, w.instances[i%3].url, url.Values{"username": {"admin@example.com"}, "password": {"a guess"}}, 401); err != nil {
			return err
		}
	}
	w.say("log in to it with the right password: refused for a while from here, on every instance")
	for _, i := range w.instances {
		answer, _, err := send(ctx, i.url, url.Values{"username": {"admin@example.com"}, "password": {"admin123"}})
		if err != nil {
			return err
		}
		wait := answer.Header.Get("Retry-After")
		fmt.Fprintf(w.out, "     POST %s/token  %d, Retry-After: %s\n", i.url, answer.StatusCode, wait)
		if answer.StatusCode != 429 || wait == "" {
			return fmt.Errorf("POST %s/token answered %d, not 429 with a Retry-After", i.url, answer.StatusCode)
		}
	}
	return nil
}

// refreshOnBoth presents one refresh token to two instances at the same time.
func (w *walker) refreshOnBoth(ctx context.Context, a, b, refresh string) (tokens, error) {
	var got [2]tokens
	var errs [2]error
	var both sync.WaitGroup
	for i, at := range []string{a, b} {
		both.Go(func() {
			_, got[i], errs[i] = send(ctx, at, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
		})
	}
	both.Wait()
	switch {
	case errs[0] != nil || errs[1] != nil:
		return tokens{}, errors.Join(errs[:]...)
	case got[0].Refresh == "" || got[0].Refresh != got[1].Refresh:
		return tokens{}, fmt.Errorf("the session has forked")
	}
	fmt.Fprintf(w.out, "     both answered 200, with the same refresh token\n")
	return got[0], nil
}

// killB kills an instance while clients send requests through the proxy.
func (w *walker) killB(ctx context.Context) error {
	const clients, before, after = 8, time.Second, 2 * time.Second
	t, err := w.token(ctx, w.proxy, url.Values{"username": {"user@example.com"}, "password": {"user123"}}, 200)
	if err != nil {
		return err
	}
	w.say("%d clients ask the proxy for %v, and B is killed after %v", clients, before+after, before)
	var good, failed, failedLate atomic.Int64
	var lastFailure atomic.Int64
	var dead atomic.Bool // whether the operating system has closed the sockets of B
	killed := time.Now().Add(before)
	var done sync.WaitGroup
	for range clients {
		done.Go(func() {
			for time.Since(killed) < after && ctx.Err() == nil {
				late := dead.Load()
				if status, err := get(ctx, "GET", w.proxy+"/users/me/", t.Access); err == nil && status == 200 {
					good.Add(1)
				} else {
					failed.Add(1)
					lastFailure.Store(int64(time.Since(killed)))
					if late {
						failedLate.Add(1)
					}
				}
			}
		})
	}
	select {
	case <-time.After(time.Until(killed)):
	case <-ctx.Done():
	}
	w.instances[1].kill()
	dead.Store(true)
	done.Wait()
	fmt.Fprintf(w.out, "     %d requests answered 200, %d failed", good.Load(), failed.Load())
	if failed.Load() > 0 {
		fmt.Fprintf(w.out, ", the last of them %v after the kill", time.Duration(lastFailure.Load()).Round(time.Millisecond))
	}
	fmt.Fprintln(w.out)
	if good.Load() == 0 || failedLate.Load() > 0 {
		return fmt.Errorf("%d requests succeeded, and %d failed that began after the end of B", good.Load(), failedLate.Load())
	}
	return w.expect(ctx, "GET", w.proxy+"/users/me/", t.Access, 200)
}

// token requests tokens from an instance, prints the request, and checks the
// status.
func (w *walker) token(ctx context.Context, at string, form url.Values, want int) (tokens, error) {
	answer, t, err := send(ctx, at, form)
	if err != nil {
		return tokens{}, err
	}
	fmt.Fprintf(w.out, "     POST %s/token  %d\n", at, answer.StatusCode)
	if answer.StatusCode != want {
		return tokens{}, fmt.Errorf("POST %s/token answered %d, not %d", at, answer.StatusCode, want)
	}
	return t, nil
}

// expect sends a request with a token, prints it, and checks the status.
func (w *walker) expect(ctx context.Context, method, url, token string, want int) error {
	status, err := get(ctx, method, url, token)
	if err != nil {
		return err
	}
	fmt.Fprintf(w.out, "     %s %s  %d\n", method, url, status)
	if status != want {
		return fmt.Errorf("%s %s answered %d, not %d", method, url, status, want)
	}
	return nil
}

// send requests tokens. It has read the body of the response.
func send(ctx context.Context, at string, form url.Values) (answer *http.Response, t tokens, err error) {
	r, err := http.NewRequestWithContext(ctx, "POST", at+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, t, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err = http.DefaultClient.Do(r)
	if err != nil {
		return nil, t, err
	}
	defer func() { _ = answer.Body.Close() }()
	err = json.NewDecoder(answer.Body).Decode(&t)
	return answer, t, err
}

func get(ctx context.Context, method, url, token string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}
