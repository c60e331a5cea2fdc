package authotel_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/trail"
	"github.com/authkit-go/authkit/authotel"
)

// nowhere is an http.ResponseWriter that costs nothing.
type nowhere struct {
	header http.Header
	status int
}

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(status int)      { n.status = status }

// BenchmarkGuard compares a guarded request with metrics and an audit log that writes to a file to
// one with neither, in turns of 20 ms, and reports the ratio of the medians. A request that
// passes is counted; one with a forged token, or denied, is an event as well.
func BenchmarkGuard(b *testing.B) {
	telemetry, err := authotel.New(authotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))})
	if err != nil {
		b.Fatal(err)
	}
	file, err := trail.Open(b.TempDir() + "/audit.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	log, err := audit.New(file, audit.Options{Key: []byte(secret)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- log.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })

	users := authkit.NewMemoryStore()
	off := newKit(b, func(c *authkit.Config) { c.Users = users })
	on := newKit(b, func(c *authkit.Config) {
		c.Users = users
		c.OnEvent = func(ctx context.Context, e authkit.Event) {
			telemetry.OnEvent(ctx, e)
			log.OnEvent(ctx, e)
		}
	})
	telemetry.Observe(on)
	telemetry.ObserveAudit(log)
	ann, err := off.CreateUser(b.Context(), authkit.User{Email: "ann@example.com", Roles: []string{"user"}}, password)
	if err != nil {
		b.Fatal(err)
	}
	token, err := off.Login(b.Context(), ann.Email, password)
	if err != nil {
		b.Fatal(err)
	}
	good, forged := token.AccessToken, token.AccessToken[:len(token.AccessToken)-4]+"AAAA"
	for _, c := range []struct {
		name, role, token string
		status            int
	}{
		{"passes", "user", good, 204},
		{"forged token", "user", forged, 401},
		{"denied", "admin", good, 403},
	} {
		b.Run(c.name, func(b *testing.B) {
			measure := func(kit *authkit.Kit) (run func() float64, allocs float64) {
				h := kit.RequireRoles(c.role)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
				r, _ := http.NewRequest("GET", "/", nil)
				r.Header.Set("Authorization", "Bearer "+c.token)
				w := &nowhere{header: http.Header{}}
				run = func() float64 {
					start, n := time.Now(), 0
					for time.Since(start) < 20*time.Millisecond {
						for range 100 {
							h.ServeHTTP(w, r)
						}
						n += 100
					}
					if w.status != c.status {
						b.Fatal(w.status)
					}
					return float64(time.Since(start).Nanoseconds()) / float64(n)
				}
				run()
				return run, testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) })
			}
			without, allocsWithout := measure(off)
			with, allocsWith := measure(on)
			var plain, watched []float64
			for b.Loop() {
				plain, watched = append(plain, without()), append(watched, with())
			}
			median := func(s []float64) float64 { slices.Sort(s); return s[len(s)/2] }
			b.ReportMetric(median(plain), "ns-off")
			b.ReportMetric(median(watched), "ns-on")
			b.ReportMetric(median(watched)/median(plain), "ratio")
			b.ReportMetric(allocsWith-allocsWithout, "more-allocs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkOnEvent is what an event costs that is counted, from several goroutines.
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
