package authotel_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/trail"
	"github.com/authkit-go/authkit/authotel"
)

// nowhere is an http.ResponseWriter without cost.
type nowhere struct {
	header http.Header
	status int
}

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(status int)      { n.status = status }

// watched holds two Kits with the same account, and requests for them. One of the Kits has metrics and an
// audit log that writes to a file.
type watched struct {
	off, on  *authkit.Kit
	requests map[string]guarded
}

func newWatched(tb testing.TB) *watched {
	tb.Helper()
	telemetry, err := authotel.New(authotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))})
	require.NoError(tb, err)
	file, err := trail.Open(tb.TempDir() + "/audit.jsonl")
	require.NoError(tb, err)
	log, err := audit.New(file, audit.Options{Key: []byte(secret)})
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error)
	go func() { done <- log.Run(ctx) }()
	tb.Cleanup(func() { cancel(); <-done })

	users := authkit.NewMemoryStore()
	w := &watched{off: newKit(tb, func(c *authkit.Config) { c.Users = users })}
	w.on = newKit(tb, func(c *authkit.Config) {
		c.Users = users
		c.OnEvent = []func(context.Context, authkit.Event){telemetry.OnEvent, log.OnEvent}
	})
	telemetry.Observe(w.on)
	telemetry.ObserveAudit(log)
	ann, err := w.off.CreateUser(tb.Context(), authkit.User{Email: "ann@example.com", Roles: []string{"user"}}, password)
	require.NoError(tb, err)
	token, err := w.off.Login(tb.Context(), ann.Email, password)
	require.NoError(tb, err)
	good, forged := token.AccessToken, token.AccessToken[:len(token.AccessToken)-4]+"AAAA"
	w.requests = map[string]guarded{
		"passes":       {tb, "user", good, 204},
		"forged token": {tb, "user", forged, 401},
		"denied":       {tb, "admin", good, 403},
	}
	return w
}

// A guarded is a request to a route for a role, with the expected status.
type guarded struct {
	tb          testing.TB
	role, token string
	status      int
}

// serve returns a function that sends the request to a Kit.
func (g guarded) serve(kit *authkit.Kit) func() {
	h := kit.RequireRoles(g.role)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	r, _ := http.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+g.token)
	w := &nowhere{header: http.Header{}}
	return func() {
		h.ServeHTTP(w, r)
		if w.status != g.status {
			g.tb.Fatal(w.status)
		}
	}
}

// BenchmarkGuard compares guarded requests with metrics and an audit log to requests without. It measures
// them in turns of 20 ms and reports the ratio of the medians. A request that passes is counted. A denied
// request, or one with a forged token, is an event as well.
func BenchmarkGuard(b *testing.B) {
	kits := newWatched(b)
	for name, r := range kits.requests {
		b.Run(name, func(b *testing.B) {
			measure := func(once func()) float64 {
				start, n := time.Now(), 0
				for time.Since(start) < 20*time.Millisecond {
					for range 100 {
						once()
					}
					n += 100
				}
				return float64(time.Since(start).Nanoseconds()) / float64(n)
			}
			without, with := r.serve(kits.off), r.serve(kits.on)
			var plain, observed []float64
			for b.Loop() {
				plain, observed = append(plain, measure(without)), append(observed, measure(with))
			}
			median := func(s []float64) float64 { slices.Sort(s); return s[len(s)/2] }
			b.ReportMetric(median(plain), "ns-off")
			b.ReportMetric(median(observed), "ns-on")
			b.ReportMetric(median(observed)/median(plain), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkOnEvent is the cost of a counted event from several goroutines.
func BenchmarkOnEvent(b *testing.B) {
	telemetry, err := authotel.New(authotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))})
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range []authkit.Event{
		{Kind: authkit.EventTokenRefused, Reason: authkit.ReasonBadSignature},
		{Kind: authkit.EventLoginFailure, Reason: authkit.ReasonWrongPassword, UserID: "01a21554-d2e6-7afe-9094-b2e9a7d72294"},
		{Kind: "host_kind"},
	} {
		b.Run(fmt.Sprint(e.Kind), func(b *testing.B) {
			ctx := authkit.WithClient(b.Context(), authkit.ClientInfo{Address: "192.0.2.1"})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					telemetry.OnEvent(ctx, e)
				}
			})
		})
	}
}
