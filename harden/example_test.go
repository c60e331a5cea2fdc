package harden_test

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/authkit-go/authkit/harden"
)

func Example() {
	wrap, err := harden.New(harden.Options{
		HSTS:   365 * 24 * time.Hour,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		log.Fatal(err) // every fault of the options at once
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /broken", func(http.ResponseWriter, *http.Request) { panic("oh") })

	// In a service: log.Fatal(harden.Server("127.0.0.1:8000", wrap(mux)).ListenAndServe())
	w := httptest.NewRecorder()
	wrap(mux).ServeHTTP(w, httptest.NewRequest("GET", "/broken", nil))
	fmt.Println(w.Code, w.Header().Get("Strict-Transport-Security"))
	fmt.Print(w.Body)
	// Output:
	// 500 max-age=31536000
	// {"type":"about:blank","title":"Internal Server Error","status":500,"detail":"Internal error"}
}
