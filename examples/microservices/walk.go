package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A walker is a client that prints its requests.
type walker struct {
	out      io.Writer
	auth     *authService
	stopAuth func()

	authURL, ordersURL, invoicesURL string
	token, refresh                  string
	step                            int
}

// through runs all steps. It returns an error for an unexpected response.
func (w *walker) through(ctx context.Context) error {
	for _, step := range []func(context.Context) error{w.login, w.use, w.rotate, w.logout, w.outlive} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) say(format string, args ...any) {
	w.step++
	_, _ = fmt.Fprintf(w.out, "%d. "+format+"\n", append([]any{w.step}, args...)...)
}

func (w *walker) login(ctx context.Context) error {
	w.say("log in at auth")
	return w.tokens(ctx, url.Values{"username": {"user@example.com"}, "password": {password}})
}

func (w *walker) use(ctx context.Context) error {
	w.say("use the token at the two others: they verify it with the public keys alone")
	if err := w.expect(ctx, "GET", w.ordersURL+"/orders", 200); err != nil {
		return err
	}
	return w.expect(ctx, "GET", w.invoicesURL+"/invoices", 403)
}

func (w *walker) rotate(ctx context.Context) error {
	w.say("rotate the key: the next one was published before, so all services have it; the old token is still valid")
	if err := w.auth.rotate(); err != nil {
		return err
	}
	if err := w.expect(ctx, "GET", w.ordersURL+"/orders", 200); err != nil {
		return err
	}
	w.say("refresh: the new token is signed with the new key")
	if err := w.tokens(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {w.refresh}}); err != nil {
		return err
	}
	return w.expect(ctx, "GET", w.ordersURL+"/orders", 200)
}

func (w *walker) logout(ctx context.Context) error {
	w.say("log out at auth, and wait until it gets around: %v at most", pollInterval)
	if err := w.expect(ctx, "POST", w.authURL+"/logout", 204); err != nil {
		return err
	}
	deadline := time.Now().Add(10 * pollInterval)
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		status, err := w.send(ctx, "GET", w.ordersURL+"/orders", nil)
		if err != nil {
			return err
		}
		if status == 401 {
			_, _ = fmt.Fprintf(w.out, "     refused at orders after %v\n", time.Since(began).Round(time.Millisecond))
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the logout did not reach %s", w.ordersURL)
		}
	}
	return w.expect(ctx, "GET", w.ordersURL+"/orders", 401)
}

func (w *walker) outlive(ctx context.Context) error {
	w.say("log in again, and stop auth: the others continue with the keys that they have")
	if err := w.tokens(ctx, url.Values{"username": {"user@example.com"}, "password": {password}}); err != nil {
		return err
	}
	w.stopAuth()
	time.Sleep(2 * pollInterval)
	return w.expect(ctx, "GET", w.ordersURL+"/orders", 200)
}

// tokens gets tokens from auth.
func (w *walker) tokens(ctx context.Context, form url.Values) error {
	r, err := http.NewRequestWithContext(ctx, "POST", w.authURL+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w.out, "     POST %s/token  %d\n", w.authURL, response.StatusCode)
	if response.StatusCode != 200 {
		return fmt.Errorf("POST /token answered %d", response.StatusCode)
	}
	w.token, w.refresh = answer.AccessToken, answer.RefreshToken
	return nil
}

// expect sends a request with the token, prints it, and checks the status.
func (w *walker) expect(ctx context.Context, method, url string, want int) error {
	status, err := w.send(ctx, method, url, nil)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w.out, "     %s %s  %d\n", method, url, status)
	if status != want {
		return fmt.Errorf("%s %s answered %d, not %d", method, url, status, want)
	}
	return nil
}

func (w *walker) send(ctx context.Context, method, url string, body io.Reader) (int, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+w.token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}
