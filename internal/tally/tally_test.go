package tally_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/internal/tally"
)

func TestTally(t *testing.T) {
	t.Parallel()
	var count tally.Tally
	require.Zero(t, count.Load())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			last := uint64(0)
			for range 10_000 {
				count.Add()
				if n := count.Load(); n <= last {
					t.Errorf("%d after %d", n, last)
				} else {
					last = n
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 80_000, count.Load())
}

func BenchmarkAdd(b *testing.B) {
	var count tally.Tally
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			count.Add()
		}
	})
}
