package authotel

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDistinctEstimates(t *testing.T) {
	t.Parallel()
	var d distinct
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
		require.LessOrEqualf(t, off, math.Max(0.5+float64(n)/2000, 0.02*float64(n)), "%d of %d", d.estimate(), n)
	}
	for ; added < 2_000_000; added++ {
		d.add(fmt.Sprint("account-", added))
	}
	require.GreaterOrEqual(t, d.estimate(), int64(400_000), "more than it can tell apart")
}

// What was added is forgotten after one window at the earliest, and two at the latest.
func TestDistinctForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d distinct
		d.add("a")
		time.Sleep(window - time.Second)
		d.add("b")
		require.EqualValues(t, 2, d.estimate())
		time.Sleep(time.Second)
		d.add("c")
		d.add("b")
		require.EqualValues(t, 3, d.estimate())
		time.Sleep(window - time.Second)
		require.EqualValues(t, 3, d.estimate())
		time.Sleep(time.Second)
		require.EqualValues(t, 2, d.estimate(), "a is gone")
		time.Sleep(window)
		require.Zero(t, d.estimate())
		d.add("d")
		time.Sleep(100 * window)
		d.add("e")
		require.EqualValues(t, 1, d.estimate())
	})
}

// IPv6 addresses count by /64, as they do in package throttle.
func TestNetwork(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"":                    "",
		"192.0.2.1":           "192.0.2.1",
		"::ffff:192.0.2.1":    "::ffff:192.0.2.1",
		"2001:db8::1":         "2001:db8::/64",
		"2001:db8::2%eth0":    "2001:db8::/64",
		"2001:db8:0:1:2:3::4": "2001:db8:0:1::/64",
		"somewhere":           "somewhere",
	} {
		require.Equal(t, want, network(address))
	}
}
