package harness_test

import (
	"errors"
	"testing"
	"time"

	"github.com/authkit-go/authkit/benchmarks/internal/harness"
	"github.com/authkit-go/authkit/benchmarks/internal/peers"
	"github.com/stretchr/testify/require"
)

func config() harness.Config {
	return harness.Config{Rounds: 3, Time: time.Millisecond, Progress: func(string, ...any) {}}
}

func TestRunCountsAllocationsPerOperation(t *testing.T) {
	var sink [][]byte
	g := harness.Group{Name: "g", Contenders: []harness.Contender{
		{Name: "none", New: func() func() error { return func() error { return nil } }},
		{Name: "three", New: func() func() error {
			return func() error {
				sink = sink[:0]
				for range 3 {
					sink = append(sink, make([]byte, 64))
				}
				return nil
			}
		}},
	}}
	for _, parallel := range []bool{false, true} {
		g.Parallel = parallel
		if parallel {
			g.Contenders = g.Contenders[:1] // the other shares its sink
		}
		m, err := harness.Run(g, config())
		require.NoError(t, err)
		require.Zero(t, m[0].Allocs)
		require.Len(t, m[0].Rounds, 3)
		if !parallel {
			require.InDelta(t, 3, m[1].Allocs, 0.2)
			require.Greater(t, m[1].Median, m[0].Median)
		}
	}
}

func TestRunMeasuresProcessorTime(t *testing.T) {
	cfg := config()
	cfg.CPU = true
	g := harness.Group{Name: "g", Once: true, Contenders: []harness.Contender{
		{Name: "asleep", New: func() func() error {
			return func() error { time.Sleep(20 * time.Millisecond); return nil }
		}},
	}}
	m, err := harness.Run(g, cfg)
	if err != nil {
		t.Skip(err) // not on this platform
	}
	require.Less(t, m[0].Median, float64(10*time.Millisecond))
}

func TestRunReportsFailure(t *testing.T) {
	want := errors.New("refused")
	_, err := harness.Run(harness.Group{Name: "g", Contenders: []harness.Contender{
		{Name: "c", New: func() func() error { return func() error { return want } }},
	}}, config())
	require.ErrorIs(t, err, want)
}

func TestJudge(t *testing.T) {
	measured := []harness.Measured{
		{Name: "authkit", Kind: peers.Ours, Median: 30, Allocs: 4},
		{Name: "floor", Kind: peers.Floor, Median: 10, Allocs: 1},
		{Name: "tuned", Kind: peers.Tuned, Median: 60},
		{Name: "slow", Kind: peers.Peer, Median: 200},
		{Name: "fast", Kind: peers.Peer, Median: 100},
	}
	for _, c := range []struct {
		name  string
		check harness.Check
		ratio float64
		met   bool
	}{
		{"best peer", harness.Check{Ours: "authkit", Max: 0.3}, 0.3, true},
		{"any peer", harness.Check{Ours: "authkit", Against: harness.AnyPeer}, 0.5, true},
		{"missed", harness.Check{Ours: "authkit", Max: 0.29}, 0.3, false},
		{"named", harness.Check{Ours: "authkit", Against: "slow", Max: 0.15}, 0.15, true},
		{"allocations", harness.Check{Ours: "authkit", Max: 0.3, MaxAllocs: 3}, 0.3, false},
		{"as against", harness.Check{Ours: "authkit", Against: "floor", Max: 5, MaxAllocs: harness.AsAgainst}, 3, false},
		{"told only", harness.Check{Ours: "authkit", Against: "floor"}, 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := harness.Judge(harness.Group{Name: "g", Checks: []harness.Check{c.check}}, measured)
			require.NoError(t, err)
			require.Len(t, v, 1)
			require.InDelta(t, c.ratio, v[0].Ratio, 1e-9)
			require.Equal(t, c.met, v[0].Met)
		})
	}
	_, err := harness.Judge(harness.Group{Name: "g", Checks: []harness.Check{{Ours: "absent"}}}, measured)
	require.Error(t, err)
}

func TestQuantile(t *testing.T) {
	require.InDelta(t, 2.5, harness.Median([]float64{4, 1, 3, 2}), 1e-9)
	require.InDelta(t, 3, harness.Median([]float64{5, 1, 3}), 1e-9)
	require.InDelta(t, 1.75, harness.Quantile([]float64{4, 1, 3, 2}, 0.25), 1e-9)
	require.InDelta(t, 4, harness.Quantile([]float64{4, 1, 3, 2}, 1), 1e-9)
}
