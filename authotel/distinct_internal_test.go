package authotel

import (
	"fmt"
	"hash/maphash"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const window = 5 * time.Minute

func TestDistinctEstimates(t *testing.T) {
	t.Parallel()
	d := distinct{window: window}
	require.Zero(t, d.estimate())
	d.add("")
	require.Zero(t, d.estimate())
	added := 0
	for _, n := range []int{1, 2, 10, 1_000, 20_000, 100_000} {
		for ; added < n; added++ {
			d.add(fmt.Sprint("account-", added))
			d.add("account-0")
		}
		off := math.Abs(float64(d.estimate()) - float64(n))
		require.LessOrEqualf(t, off, math.Max(min(1, float64(n-1)), 0.02*float64(n)), "%d of %d", d.estimate(), n)
	}
	for ; added < 2_000_000; added++ {
		d.add(fmt.Sprint("account-", added))
	}
	require.GreaterOrEqual(t, d.estimate(), int64(400_000), "more than it can tell apart")
}

// A text is counted for at least one window and at most two.
func TestDistinctForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := distinct{window: window}
		fresh := texts(&d)
		b := fresh()
		d.add(fresh())
		time.Sleep(window - time.Second)
		d.add(b)
		require.EqualValues(t, 2, d.estimate())
		time.Sleep(time.Second)
		d.add(fresh())
		d.add(b)
		require.EqualValues(t, 3, d.estimate())
		time.Sleep(window - time.Second)
		require.EqualValues(t, 3, d.estimate())
		time.Sleep(time.Second)
		require.EqualValues(t, 2, d.estimate(), "the first is gone")
		time.Sleep(window)
		require.Zero(t, d.estimate())
		d.add(fresh())
		time.Sleep(100 * window)
		d.add(fresh())
		require.EqualValues(t, 1, d.estimate())
	})
}

// texts returns texts with different bits.
func texts(d *distinct) func() string {
	d.turn() // sets the seed
	n, taken := 0, map[uint64]bool{}
	return func() string {
		for {
			n++
			text := fmt.Sprint("text-", n)
			if bit := maphash.String(d.seed, text) % bitmapBits; !taken[bit] {
				taken[bit] = true
				return text
			}
		}
	}
}

// IPv6 addresses count by /64, as they do in package throttle.
func TestNetwork(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"":                    "",
		"192.0.2.1":           "192.0.2.1/32",
		"::ffff:192.0.2.1":    "192.0.2.1/32",
		"2001:db8::1":         "2001:db8::/64",
		"2001:db8::2%eth0":    "2001:db8::/64",
		"2001:db8:0:1:2:3::4": "2001:db8:0:1::/64",
		"somewhere":           "somewhere",
	} {
		require.Equal(t, want, network(address))
	}
}
