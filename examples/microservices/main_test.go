package main

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The walk-through finds what it says it does.
func TestWalkThrough(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var out strings.Builder
	require.NoError(t, run(ctx, &out, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", true), out.String())
	for _, want := range []string{"/orders  200", "/invoices  403", "/logout  204", "/orders  401", "refused at orders after", "stop auth"} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "eyJ", "a token in the output")
}

// The list of revocations is limited by the address of the client, its 304 included.
func TestRevocationsAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		auth, err := newAuthService(t.Context())
		require.NoError(t, err)
		h, tag := auth.handler(), ""
		ask := func(address string) *httptest.ResponseRecorder {
			r, w := httptest.NewRequest("GET", "/revocations", nil), httptest.NewRecorder()
			r.RemoteAddr = address + ":1234"
			r.Header.Set("If-None-Match", tag)
			h.ServeHTTP(w, r)
			return w
		}
		first := ask("192.0.2.1")
		require.Equal(t, 200, first.Code)
		tag = first.Header().Get("ETag")
		for range 59 {
			require.Equal(t, 304, ask("192.0.2.1").Code)
		}
		refused := ask("192.0.2.1")
		require.Equal(t, 429, refused.Code)
		require.Equal(t, "1", refused.Header().Get("Retry-After"))
		require.Empty(t, refused.Header().Get("ETag"))
		require.Equal(t, 304, ask("192.0.2.2").Code, "another address")
		time.Sleep(time.Second)
		require.Equal(t, 304, ask("192.0.2.1").Code)
	})
}
