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
		more := allocations(r.serve(watched.on)) - allocations(r.serve(watched.off))
		require.LessOrEqual(t, more, map[bool]float64{true: 0, false: 2}[name == "passes"], name)
	}
}

// allocations returns how many allocations a call makes. It measures several times and takes the
// least: the log writes its entries meanwhile, and those allocations are counted too.
func allocations(f func()) float64 {
	least := testing.AllocsPerRun(100, f)
	for range 30 {
		least = min(least, testing.AllocsPerRun(100, f))
	}
	return least
}
