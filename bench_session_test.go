package authkit_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// BenchmarkRefresh is one rotation, on a MemoryStore that holds some other sessions.
func BenchmarkRefresh(b *testing.B) {
	for _, sessions := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("%d sessions", sessions), func(b *testing.B) {
			kit, store, _ := newSessionKit(b, func(c *authkit.Config) { c.OnEvent = nil })
			at := time.Now()
			for i := range sessions - 1 {
				err := store.CreateSession(b.Context(), authkit.StoredSession{Session: authkit.Session{
					ID: authkit.NewUserID(), UserID: fmt.Sprint(i), CreatedAt: at, LastUsedAt: at, ExpiresAt: at.Add(time.Hour), AbsoluteExpiresAt: at.Add(time.Hour),
				}}, 50)
				if err != nil {
					b.Fatal(err)
				}
			}
			token := begin(b, kit)
			b.ReportAllocs()
			for b.Loop() {
				next, err := kit.Refresh(b.Context(), token.RefreshToken)
				if err != nil {
					b.Fatal(err)
				}
				token = next
			}
		})
	}
}

// BenchmarkSessionCheck compares a guarded request with a look at its session to one without, in
// turns of 20 ms, and reports the ratio of the medians.
func BenchmarkSessionCheck(b *testing.B) {
	kit, store, user := newSessionKit(b, func(c *authkit.Config) { c.OnEvent = nil })
	with := begin(b, kit)
	without, err := newKit(b, func(c *authkit.Config) { c.Users = store }).Login(b.Context(), user.Email, password)
	if err != nil {
		b.Fatal(err)
	}
	renew(b, kit, with) // so that there is a successor to be copied
	h := kit.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	measure := func(token authkit.Token) func() float64 {
		r, _ := http.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		w := &nowhere{header: http.Header{}}
		return func() float64 {
			start, n := time.Now(), 0
			for time.Since(start) < 20*time.Millisecond {
				for range 100 {
					h.ServeHTTP(w, r)
				}
				n += 100
			}
			if w.status != 204 {
				b.Fatal(w.status)
			}
			return float64(time.Since(start).Nanoseconds()) / float64(n)
		}
	}
	one, two := measure(without), measure(with)
	var plain, checked []float64
	for b.Loop() {
		plain, checked = append(plain, one()), append(checked, two())
	}
	median := func(s []float64) float64 { slices.Sort(s); return s[len(s)/2] }
	b.ReportMetric(median(plain), "ns-without")
	b.ReportMetric(median(checked), "ns-with")
	b.ReportMetric(median(checked)/median(plain), "ratio")
	b.ReportMetric(0, "ns/op")
}
