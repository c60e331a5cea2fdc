package trail_test

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/trail"
)

// client is a context as a request has it.
func client(ctx context.Context) context.Context {
	return authkit.WithClient(ctx, authkit.ClientInfo{
		Address: "203.0.113.77", RequestID: "01JDF2Q8M3V5K7",
		Device: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
	})
}

// loginEvent returns the event of a login. Those of different numbers are not equal.
func loginEvent(n int) authkit.Event {
	return authkit.Event{Kind: authkit.EventLoginSuccess, UserID: "01JDF2Q8M3V5K7P9R1T3W5Y7A9", SessionID: strconv.Itoa(n)}
}

// BenchmarkOnEvent measures the cost of an event for the request that causes it.
func BenchmarkOnEvent(b *testing.B) {
	l, err := audit.New(audit.NewMemoryStore(0), audit.Options{Key: testKey, Queue: 1 << 20})
	require.NoError(b, err)
	ctx := client(b.Context())
	b.ReportAllocs()
	for i := 1; b.Loop(); i++ {
		l.OnEvent(ctx, loginEvent(i))
		if i%8192 == 0 {
			b.StopTimer()
			require.NoError(b, l.Flush(ctx))
			b.StartTimer()
		}
	}
}

// BenchmarkFile is how many events a second a file takes, with the chain, the JSON and the
// fsync, from as many goroutines as there are, which wait when a quarter of the queue is full.
func BenchmarkFile(b *testing.B) {
	l, _ := openLog(b, filepath.Join(b.TempDir(), "log"))
	ctx, cancel := context.WithCancel(client(b.Context()))
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for i := 1; pb.Next(); i++ {
			for i%64 == 0 && l.Stats().Waiting > 2048 {
				time.Sleep(100 * time.Microsecond)
			}
			l.OnEvent(ctx, loginEvent(int(next.Add(1))))
		}
	})
	cancel()
	<-done
	b.StopTimer()
	if s := l.Stats(); s.Lost > 0 || s.Written != uint64(b.N)+2 {
		b.Fatalf("%+v of %d", s, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkVerify is how many entries a second are read and verified.
func BenchmarkVerify(b *testing.B) {
	text := strings.Join(writeLog(b, filepath.Join(b.TempDir(), "log"), 1000), "")
	for b.Loop() {
		if _, err := trail.Verify(trail.ReadEntries(strings.NewReader(text)), testKey); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkLogin compares logins at the default cost without an audit log, with one, and with
// one that takes 10,000 events a second beside them, in turns, and reports the ratios of the
// medians, and of the tenths that were quickest: those that other programs disturbed least.
func BenchmarkLogin(b *testing.B) {
	l, _ := openLog(b, filepath.Join(b.TempDir(), "log"))
	ctx, cancel := context.WithCancel(client(b.Context()))
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	login := func(onEvent func(context.Context, authkit.Event)) func() float64 {
		kit, err := authkit.New(authkit.Config{Secret: testKey, OnEvent: []func(context.Context, authkit.Event){onEvent}})
		require.NoError(b, err)
		_, err = kit.CreateUser(ctx, authkit.User{Email: "user@example.com"}, "correct horse")
		require.NoError(b, err)
		return func() float64 {
			begin := time.Now()
			if _, err := kit.Login(ctx, "user@example.com", "correct horse"); err != nil {
				b.Fatal(err)
			}
			return float64(time.Since(begin).Microseconds())
		}
	}
	off, on := login(func(context.Context, authkit.Event) {}), login(l.OnEvent)
	var plain, logged, loaded []float64
	var sent atomic.Uint64
	var busy time.Duration
	for b.Loop() {
		plain, logged = append(plain, off()), append(logged, on())
		stop, begin := make(chan struct{}), time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { sent.Add(send(ctx, l, 10_000, stop)) })
		loaded = append(loaded, on())
		close(stop)
		wg.Wait()
		busy += time.Since(begin)
	}
	cancel()
	<-done
	for name, part := range map[string]float64{"median": 0.5, "quick": 0.1} {
		at := func(s []float64) float64 { slices.Sort(s); return s[int(part*float64(len(s)))] }
		b.ReportMetric(at(plain), "µs-"+name)
		b.ReportMetric(at(logged)/at(plain), "with-"+name)
		b.ReportMetric(at(loaded)/at(plain), "under-load-"+name)
	}
	b.ReportMetric(float64(sent.Load())/busy.Seconds(), "events/s")
	b.ReportMetric(float64(l.Stats().Lost), "lost")
	b.ReportMetric(0, "ns/op")
}

// send sends events at a rate until stop is closed, and returns how many.
func send(ctx context.Context, l *audit.Log, rate int, stop chan struct{}) (sent uint64) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	for {
		select {
		case <-stop:
			return sent
		case <-tick.C:
			for due := uint64(time.Since(begin).Seconds() * float64(rate)); sent < due; sent++ {
				l.OnEvent(ctx, loginEvent(int(sent)))
			}
		}
	}
}

// nowhere is an http.ResponseWriter that costs nothing.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}

// BenchmarkGuard compares a guarded request without an audit log to one with, in turns of 20
// ms, and reports the ratio of the medians.
func BenchmarkGuard(b *testing.B) {
	l, _ := openLog(b, filepath.Join(b.TempDir(), "log"))
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	var allocs [2]float64
	measure := func(i int, onEvent func(context.Context, authkit.Event)) func() float64 {
		kit, err := authkit.New(authkit.Config{Secret: testKey, OnEvent: []func(context.Context, authkit.Event){onEvent}, Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}})
		require.NoError(b, err)
		_, err = kit.CreateUser(ctx, authkit.User{Email: "user@example.com"}, "correct horse")
		require.NoError(b, err)
		token, err := kit.Login(ctx, "user@example.com", "correct horse")
		require.NoError(b, err)
		h := kit.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r, _ := http.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		w := &nowhere{http.Header{}}
		allocs[i] = testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) })
		return func() float64 {
			begin, n := time.Now(), 0
			for time.Since(begin) < 20*time.Millisecond {
				for range 100 {
					h.ServeHTTP(w, r)
				}
				n += 100
			}
			return float64(time.Since(begin).Nanoseconds()) / float64(n)
		}
	}
	off, on := measure(0, func(context.Context, authkit.Event) {}), measure(1, l.OnEvent)
	var plain, logged []float64
	for b.Loop() {
		plain, logged = append(plain, off()), append(logged, on())
	}
	cancel()
	<-done
	median := func(s []float64) float64 { slices.Sort(s); return s[len(s)/2] }
	b.ReportMetric(median(logged)/median(plain), "ratio")
	b.ReportMetric(allocs[1]-allocs[0], "more-allocs")
	b.ReportMetric(0, "ns/op")
}
