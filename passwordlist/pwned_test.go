package passwordlist_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passwordlist"
)

// The SHA-1 of "password" is 5BAA6 and this.
const rest = "1E4C9B93F3F0682250B6CF8331B7EE68FD8"

// others are a line of another password, and one of the padding.
const others = "003D68EB55068C33ACE09247EE4C639306B:3\r\n012C192B2F16F82EA0EB9EF18D9D539B0DD:0\r\n"

// service returns a Pwned that asks a handler, and the errors that it reports.
func service(t *testing.T, handler http.HandlerFunc) (*passwordlist.Pwned, *[]error) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	var errs []error
	pwned, err := passwordlist.NewPwned(passwordlist.PwnedConfig{
		BaseURL: server.URL + "/range/", OnError: func(_ context.Context, err error) { errs = append(errs, err) },
	})
	require.NoError(t, err)
	return pwned, &errs
}

// HA-13: a password of a breach is refused. The service gets five digits of its hash.
func TestPwned(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer  string
		refused bool
	}{
		"known":              {others + rest + ":42\r\n", true},
		"known, lower case":  {others + strings.ToLower(rest) + ":1", true},
		"known, first":       {rest + ":10\n" + others, true},
		"others":             {others, false},
		"padding":            {others + rest + ":0\r\n", false},
		"a part of the hash": {others + rest[1:] + ":9\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pwned, errs := service(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.RequestURI != "/range/5BAA6" || r.Header.Get("Add-Padding") != "true" || r.UserAgent() != "authkit" {
					t.Errorf("%s %s %v", r.Method, r.RequestURI, r.Header)
				}
				_, _ = w.Write([]byte(tc.answer))
			})
			err := pwned.Check(t.Context(), "password", ada)
			require.Equal(t, tc.refused, errors.Is(err, authkit.ErrPasswordRefused), "%v", err)
			require.Equal(t, tc.refused, err != nil)
			require.Empty(t, *errs)
		})
	}
}

// HA-13: a service that fails stops no sign-up, and is reported. The report has no part of
// the hash.
func TestPwnedFailsOpen(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"down":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"another page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>:1</html>")) },
		"empty":        func(http.ResponseWriter, *http.Request) {},
		"cut off":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/range/") {
				t.Error("the redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write([]byte(others)); err != nil {
					return
				}
			}
		},
		"an endless line": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte("0"), 1000)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pwned, errs := service(t, handler)
			require.NoError(t, pwned.Check(t.Context(), "password", ada))
			require.Len(t, *errs, 1)
			require.NotContains(t, strings.ToUpper((*errs)[0].Error()), "5BAA6")
		})
	}
}

// A caller that has gone gets its own error, and no password passes.
func TestPwnedCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	pwned, errs := service(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	require.ErrorIs(t, pwned.Check(ctx, "password", ada), context.Canceled)
	require.Empty(t, *errs)
}

// roundTrip is an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A service that hangs takes two seconds.
func TestPwnedHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reported atomic.Int32
		pwned, err := passwordlist.NewPwned(passwordlist.PwnedConfig{
			Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				require.Equal(t, "https://api.pwnedpasswords.com/range/5BAA6", r.URL.String())
				<-r.Context().Done()
				return nil, r.Context().Err()
			})},
			OnError: func(context.Context, error) { reported.Add(1) },
		})
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, pwned.Check(t.Context(), "password", ada))
		require.Equal(t, 2*time.Second, time.Since(start))
		require.EqualValues(t, 1, reported.Load())
	})
}

func TestNewPwned(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"range", "http://example.com/range/", "ftp://127.0.0.1/", "https:///range", "https://example.com/?x=1", "https://example.com/#x", "https://u:p@example.com/", "https://%zz/"} {
		pwned, err := passwordlist.NewPwned(passwordlist.PwnedConfig{BaseURL: base})
		require.ErrorContains(t, err, "PwnedConfig.BaseURL", base)
		require.Nil(t, pwned)
	}
	for _, base := range []string{"", "https://example.com/range", "http://localhost:1/x/", "http://[::1]/"} {
		_, err := passwordlist.NewPwned(passwordlist.PwnedConfig{BaseURL: base})
		require.NoError(t, err, base)
	}
}

// Without OnError, the error is in the log. The test replaces the default logger, so it does
// not run in parallel.
func TestPwnedLogs(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	defer slog.SetDefault(old)
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	pwned, err := passwordlist.NewPwned(passwordlist.PwnedConfig{
		Client: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") })},
	})
	require.NoError(t, err)
	require.NoError(t, pwned.Check(t.Context(), "password", ada))
	require.Contains(t, log.String(), "no route")
	require.Contains(t, log.String(), "level=WARN")
	require.NotContains(t, log.String(), "5BAA6")
}

// TestPwnedInFIPSMode runs TestPwned in a process in which SHA-1 is forbidden.
func TestPwnedInFIPSMode(t *testing.T) {
	t.Parallel()
	if fips140.Enforced() {
		t.Log("SHA-1 is forbidden") // in that process
		return
	}
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(program, "-test.run=^TestPwned(InFIPSMode)?$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestPwned/known")
	require.Contains(t, string(out), "SHA-1 is forbidden")
}
