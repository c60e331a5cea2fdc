package harden_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/authkit-go/authkit/harden"
)

// nowhere is an http.ResponseWriter that costs nothing.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}

// BenchmarkHarden is the cost of the middleware, with a new header for each request as a
// server has.
func BenchmarkHarden(b *testing.B) {
	nothing := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	wrap := func(h slog.Handler) http.Handler {
		w, err := harden.New(harden.Options{Logger: slog.New(h)})
		if err != nil {
			b.Fatal(err)
		}
		return w(nothing)
	}
	for _, c := range []struct {
		name string
		h    http.Handler
	}{
		{"without", nothing},
		{"log off", wrap(slog.DiscardHandler)},
		{"log on", wrap(slog.NewTextHandler(discard{}, nil))},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/users/42", nil)
			r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")
			b.ReportAllocs()
			for b.Loop() {
				c.h.ServeHTTP(&nowhere{http.Header{}}, r)
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
