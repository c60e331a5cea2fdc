// Package harness measures contenders side by side in one process.
//
// Absolute times on a shared machine wander by tens of percent within minutes, so every contender of a group takes one
// short turn per round, the order is rotated from round to round, and what counts is the ratio of two medians over the
// rounds of one run.
package harness

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/authkit-go/authkit/benchmarks/internal/peers"
)

// A Contender does one group's work in its own way.
type Contender struct {
	Name string
	Kind peers.Kind
	Note string // shown under the table
	// New returns the operation that is measured. It is called once per goroutine.
	New func() func() error
}

// A Group is a set of contenders that do the same work.
type Group struct {
	Name       string
	Work       string // one sentence: what an operation is
	Contenders []Contender
	Checks     []Check
	Parallel   bool // run each turn on GOMAXPROCS goroutines at once
	Once       bool // one operation per turn, for operations that take a good part of a second
	Large      bool // the contenders hold so much memory that no garbage is collected between turns
}

// A Check judges one contender of a group by another.
type Check struct {
	What    string  // for the summary; the group's name if empty
	Ours    string  // name of the contender that is judged
	Against string  // name of the contender it is judged by, AnyPeer, or the fastest peer as documented if empty
	Max     float64 // the greatest ratio, or zero to tell it without judging
	// MaxAllocs bounds the allocations per operation: a number of them, AsAgainst, or zero for no bound.
	MaxAllocs float64
}

// AnyPeer, as what is judged against, is the fastest of the peers and of their tuned forms. The check is left out where
// that is a peer as documented.
const AnyPeer = "any peer"

// AsAgainst, as a bound of allocations, asks for no more than the contender judged by.
const AsAgainst = -1

// Config says how long to measure.
type Config struct {
	Rounds   int
	Time     time.Duration // per contender and round
	CPU      bool          // measure processor time in place of the wall clock
	Progress func(format string, args ...any)
}

// Measured is what the rounds say about one contender. Times are nanoseconds per operation.
type Measured struct {
	Name   string     `json:"name"`
	Kind   peers.Kind `json:"kind"`
	Note   string     `json:"note,omitempty"`
	Median float64    `json:"median_ns"`
	Rounds []float64  `json:"rounds_ns"`
	Allocs float64    `json:"allocs_per_op"`
	Bytes  float64    `json:"bytes_per_op"`
}

// spread returns half the distance between the quartiles of the rounds, relative to the median: the measure of doubt.
func (m Measured) spread() float64 {
	if len(m.Rounds) < 4 {
		return 0
	}
	return (Quantile(m.Rounds, 0.75) - Quantile(m.Rounds, 0.25)) / 2 / m.Median
}

// Run measures every contender of g.
func Run(g Group, cfg Config) ([]Measured, error) {
	turns := make([]turn, len(g.Contenders))
	for i, c := range g.Contenders {
		workers := 1
		if g.Parallel {
			workers = runtime.GOMAXPROCS(0)
		}
		t := turn{n: 1}
		for range workers {
			t.ops = append(t.ops, c.New())
		}
		if err := t.calibrate(g.Once, cfg.Time); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", g.Name, c.Name, err)
		}
		turns[i] = t
	}
	for round := range cfg.Rounds {
		cfg.Progress("%s: round %d of %d", g.Name, round+1, cfg.Rounds)
		for i := range turns {
			if !g.Large {
				runtime.GC() // the predecessor's garbage: each pays for its own
			}
			at := (i + round) % len(turns)
			if err := turns[at].take(cfg.CPU); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", g.Name, g.Contenders[at].Name, err)
			}
		}
	}
	out := make([]Measured, len(turns))
	for i, c := range g.Contenders {
		t := &turns[i]
		out[i] = Measured{
			Name: c.Name, Kind: c.Kind, Note: c.Note,
			Median: Median(t.ns), Rounds: t.ns,
			Allocs: math.Round(Median(t.allocs)*10) / 10, Bytes: math.Round(Median(t.bytes)),
		}
	}
	return out, nil
}

// turn is one contender's state between its turns.
type turn struct {
	ops               []func() error
	n                 int // operations per goroutine and turn
	ns, allocs, bytes []float64
}

// calibrate warms the operation up and chooses n so that a turn takes about d.
func (t *turn) calibrate(once bool, d time.Duration) error {
	if once {
		return t.ops[0]()
	}
	for {
		took, err := t.run()
		if err != nil {
			return err
		}
		if took >= d/2 {
			t.n = max(1, int(float64(t.n)*float64(d)/float64(took)))
			return nil
		}
		t.n = max(t.n+1, min(t.n*100, int(float64(t.n)*float64(d)/float64(max(took, time.Microsecond)))))
	}
}

// take measures one turn.
func (t *turn) take(cpu bool) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run := t.run
	if cpu {
		run = t.runCPU
	}
	took, err := run()
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	ops := float64(t.n * len(t.ops))
	t.ns = append(t.ns, float64(took.Nanoseconds())/ops)
	t.allocs = append(t.allocs, float64(after.Mallocs-before.Mallocs)/ops)
	t.bytes = append(t.bytes, float64(after.TotalAlloc-before.TotalAlloc)/ops)
	return nil
}

func (t *turn) run() (time.Duration, error) {
	if len(t.ops) == 1 {
		start := time.Now()
		err := repeat(t.ops[0], t.n)
		return time.Since(start), err
	}
	errs := make([]error, len(t.ops))
	var wg sync.WaitGroup
	start := time.Now()
	for i, op := range t.ops {
		wg.Go(func() { errs[i] = repeat(op, t.n) })
	}
	wg.Wait()
	took := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return took, nil
}

// runCPU is run by the process's clock of processor time, which stands still while other processes have the cores.
func (t *turn) runCPU() (time.Duration, error) {
	start, err := cpuTime()
	if err != nil {
		return 0, err
	}
	if _, err := t.run(); err != nil {
		return 0, err
	}
	end, err := cpuTime()
	return end - start, err
}

func repeat(op func() error, n int) error {
	for range n {
		if err := op(); err != nil {
			return err
		}
	}
	return nil
}

// Median returns the middle of values, or NaN if there is none.
func Median(values []float64) float64 { return Quantile(values, 0.5) }

// Quantile returns the value below which the fraction q of values lies, between neighbours by proportion.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	at := q * float64(len(s)-1)
	low := int(at)
	if low+1 == len(s) {
		return s[low]
	}
	return s[low] + (at-float64(low))*(s[low+1]-s[low])
}
