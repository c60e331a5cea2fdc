//go:build !race

package authotel_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Metrics and an audit log cost a guarded request at most two allocations, and none if it passes.
// AllocsPerRun does not allow t.Parallel.
func TestGuardAllocations(t *testing.T) {
	watched := newWatched(t)
	for name, r := range watched.requests {
		more := testing.AllocsPerRun(1000, r.serve(watched.on)) - testing.AllocsPerRun(1000, r.serve(watched.off))
		require.LessOrEqual(t, more, map[bool]float64{true: 0, false: 2}[name == "passes"], name)
	}
}
