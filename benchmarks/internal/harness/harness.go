// Package harness measures contenders in turn in one process.
//
// Absolute times on a shared machine vary by tens of percent within minutes.
// Every contender of a group therefore takes one short turn per round, and the
// order rotates from round to round. The result is the ratio of two medians
// over the rounds of one run.
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

// A Contender is one implementation of the work of a group.
type Contender struct {
	Name string
	Kind peers.Kind
	Note string // shown under the table
	// New returns the operation that is measured. It is called once per
	// goroutine.
	New func() func() error
}

// A Group is a set of contenders that do the same work.
type Group struct {
	Name       string
	Work       string // one sentence that describes an operation
	Contenders []Contender
	Checks     []Check
	Parallel   bool // run each turn on GOMAXPROCS goroutines at once
	Once       bool // one operation per turn, for operations of a large part of a second
	Large      bool // no garbage collection between turns, because the contenders hold much memory
}

// A Check compares one contender of a group with another.
type Check struct {
	What    string  // for the summary; the group's name if empty
	Ours    string  // the name of the judged contender
	Against string  // the name of the reference, or AnyPeer; if empty, the fastest peer as documented
	Max     float64 // the maximum ratio; if zero, the ratio is only reported
	// MaxAllocs is the maximum number of allocations per operation, or
	// AsAgainst. If zero, there is no limit.
	MaxAllocs float64
}

// AnyPeer is the reference that is the fastest of the peers and their tuned
// forms. The check is omitted if that is a peer as documented.
const AnyPeer = "any peer"

// AsAgainst is the limit of allocations that is the number of the reference.
const AsAgainst = -1

// Config configures the measurement.
type Config struct {
	Rounds   int
	Time     time.Duration // per contender and round
	CPU      bool          // measure processor time in place of the wall clock
	Progress func(format string, args ...any)
}

// Measured is the result of the rounds for one contender. Times are nanoseconds
// per operation.
type Measured struct {
	Name   string     `json:"name"`
	Kind   peers.Kind `json:"kind"`
	Note   string     `json:"note,omitempty"`
	Median float64    `json:"median_ns"`
	Rounds []float64  `json:"rounds_ns"`
	Allocs float64    `json:"allocs_per_op"`
	Bytes  float64    `json:"bytes_per_op"`
}

// spread returns half the distance between the quartiles of the rounds,
// relative to the median. It measures the uncertainty.
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
				runtime.GC() // of the previous contender
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

// A turn is the state of one contender between its turns.
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

// runCPU is run with the process's clock of processor time, which does not
// advance while other processes have the cores.
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

// Quantile returns the value below which the fraction q of values lies, between
// neighbours by proportion.
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
