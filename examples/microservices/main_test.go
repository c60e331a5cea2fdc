package main

import (
	"context"
	"strings"
	"testing"
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
