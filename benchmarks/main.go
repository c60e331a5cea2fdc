// Command benchmarks measures authkit and its peers: the same work, in one
// process, in interleaved rounds. It prints one Markdown table per group of
// contenders, and a summary that compares authkit with the best peer, or with
// the bare work.
//
//	GOWORK=off go run .                       # everything, a few minutes
//	GOWORK=off go run . -only 'verify|guard'  # some groups
//	GOWORK=off go run . -json results.json    # every round's figures too
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/authkit-go/authkit/benchmarks/internal/harness"
	"github.com/authkit-go/authkit/benchmarks/internal/peers"
)

// A bench is one group. It is built at its turn, so that no group is affected
// by another's memory.
type bench struct {
	name string
	run  func(name string, env env) (harness.Section, error)
}

// An env holds the inputs of every group.
type env struct {
	keys peers.Keys
	cfg  harness.Config
}

func benches() []bench {
	all := []bench{
		{"issue HS256", issue},
		{"verify HS256", verify},
		{"verify ES256", asymmetric(peers.ES256, 1.15)},
		{"verify EdDSA", asymmetric(peers.EdDSA, 1.15)},
		{"verify RS256", asymmetric(peers.RS256, 1.25)},
		{"refuse a token: bad signature", refuseToken(func(t peers.Tokens) string { return t.BadSignature }, 0.40, 5)},
		{"refuse a token: expired", refuseToken(func(t peers.Tokens) string { return t.Expired }, 0.35, 8)},
		{"guarded request", guarded(false)},
		{"guarded request, parallel", guarded(true)},
		{"guarded request, user looked up", guardedLookUp(false)},
		{"guarded request, user looked up, parallel", guardedLookUp(true)},
	}
	all = append(all, refusals()...)
	return append(all,
		bench{"login", login},
		bench{"store look-up", lookUp},
		bench{"login storm", storm},
	)
}

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 10, "interleaved rounds; a verdict wants at least 10")
	turn := flag.Duration("time", 50*time.Millisecond, "length of each contender's turn in each round")
	only := flag.String("only", "", "run only the groups whose name matches this `regexp`")
	list := flag.Bool("list", false, "list the groups and stop")
	cpu := flag.Bool("cpu", false, "measure processor time in place of the wall clock, for a machine that is busy with other things")
	jsonFile := flag.String("json", "", "also write the results, every round's included, to this `file`")
	flag.Parse()
	cfg := harness.Config{Rounds: *rounds, Time: *turn, CPU: *cpu, Progress: progress}
	if err := run(os.Stdout, cfg, *only, *list, *jsonFile); err != nil {
		log.Fatal(err)
	}
}

func run(w io.Writer, cfg harness.Config, only string, list bool, jsonFile string) error {
	if cfg.Rounds < 1 || cfg.Time <= 0 {
		return errors.New("-rounds and -time must be positive")
	}
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	keys, err := peers.NewKeys()
	if err != nil {
		return err
	}
	e := env{keys: keys, cfg: cfg}
	report := newReport(cfg)
	if cfg.Rounds < 10 {
		progress("%d rounds show where things are; a verdict wants at least 10", cfg.Rounds)
	}
	if !list {
		report.writeHead(w)
	}
	for _, b := range benches() {
		if !match.MatchString(b.name) {
			continue
		}
		if list {
			fmt.Fprintln(w, b.name)
			continue
		}
		section, err := b.run(b.name, e)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		if _, err := section.WriteTo(w); err != nil {
			return err
		}
		report.Sections = append(report.Sections, section)
		runtime.GC()
	}
	if list {
		return nil
	}
	if err := harness.WriteSummary(w, report.Sections); err != nil {
		return err
	}
	if jsonFile == "" {
		return nil
	}
	out, err := json.MarshalIndent(report, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(jsonFile, append(out, '\n'), 0o666)
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// report is the JSON form of a run.
type report struct {
	Go       string            `json:"go"`
	Platform string            `json:"platform"`
	CPUs     int               `json:"cpus"`
	Rounds   int               `json:"rounds"`
	Turn     time.Duration     `json:"turn_ns"`
	CPUTime  bool              `json:"cpu_time"`
	Peers    map[string]string `json:"peers"` // module: version
	Sections []harness.Section `json:"sections"`
}

func newReport(cfg harness.Config) *report {
	r := &report{
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0),
		Rounds: cfg.Rounds, Turn: cfg.Time, CPUTime: cfg.CPU, Peers: map[string]string{},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			for _, name := range peers.Modules() {
				if d.Path == name {
					r.Peers[name] = d.Version
				}
			}
		}
	}
	return r
}

func (r *report) writeHead(w io.Writer) {
	clock := "wall clock"
	if r.CPUTime {
		clock = "processor time"
	}
	fmt.Fprintf(w, "# authkit beside its peers\n\n%s, %s, %d CPUs; medians of %d interleaved rounds of %v per contender, %s.\n\nPeers: ",
		r.Go, r.Platform, r.CPUs, r.Rounds, r.Turn, clock)
	var list []string
	for _, name := range peers.Modules() {
		list = append(list, strings.TrimPrefix(name, "github.com/")+" "+r.Peers[name])
	}
	fmt.Fprintf(w, "%s.\n\n", strings.Join(list, ", "))
}
