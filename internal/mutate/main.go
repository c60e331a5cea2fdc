// Command mutate changes the code that decides about security, one small change
// at a time, and reports the changes that no test notices.
//
//	go run ./internal/mutate -files 'login.go,sqlstore/*.go' -resume /tmp/mutants.jsonl
//
// With -sample it tries some of the changes, chosen at random, to estimate the
// share of all that survives.
//
// With -reach it only reports the changes that no test reaches, which takes a
// minute or two and finds the largest gaps.
//
// It runs at the top of the repository and changes nothing in it: the go command
// reads the changed files through -overlay. Each package is compiled once, with
// all of its mutants, and an environment variable selects one. Each test runs
// once alone to learn the mutants that it reaches. A mutant then gets only
// these tests, until the first one fails.
//
// A mutant that survives the tests of its package gets those of the packages
// that import it, which -tests can limit. The mutants that no test can notice are
// listed in equivalent.txt, each with its reason.
//
// CONTRIBUTING.md says when to run it. The exit status is 1 if a mutant that is
// not listed survives.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// defaultFiles are the packages that decide about authentication and authorization, with all of
// their files but tests.
const defaultFiles = "*.go,account/*.go,apikey/*.go,audit/*.go,harden/*.go,internal/cache/*.go,internal/claims/*.go," +
	"internal/endpoint/*.go,internal/entropy/*.go,internal/gate/*.go,internal/jws/*.go,internal/refresh/*.go,internal/seal/*.go," +
	"jwks/*.go,mtls/*.go,oidclogin/*.go,org/*.go,passkey/*.go,redisstore/*.go,revocation/*.go,sqlstore/*.go,throttle/*.go," +
	"totp/*.go,trusteddevice/*.go"

// The results of a mutant.
const (
	killed     = "killed"
	timedOut   = "timed out"
	survived   = "survived"
	unreached  = "unreached" // survived, and no test gets there
	equivalent = "equivalent"
	reached    = "reached" // and not tried
)

// A result is a line of the report.
type result struct {
	mutant
	Status  string  `json:"status"`
	Test    string  `json:"test,omitempty"` // that noticed the mutant
	Seconds float64 `json:"seconds"`
}

type config struct {
	dir        string // the top of the tree
	files      []string
	tests      []string // packages for survivors, "none", or nil for the importers
	run        string   // limits the tests to these names
	timeout    time.Duration
	most       time.Duration // of the tests of a mutant together
	resume     string
	equivalent string
	list       bool
	reach      bool
	sample     int
	out        io.Writer
}

func main() {
	var c config
	var files, tests string
	flag.StringVar(&files, "files", defaultFiles, "patterns of the `files` to change, with commas")
	flag.StringVar(&tests, "tests", "", "`packages` whose tests what survives gets, with commas, or none (default: the importers)")
	flag.StringVar(&c.run, "run", "", "use only the tests that match this `regexp`")
	flag.DurationVar(&c.timeout, "timeout", 20*time.Second, "how long tests may take beyond ten times their usual time")
	flag.DurationVar(&c.most, "most", time.Hour, "give a mutant only the tests that come first and usually take this `long` together")
	flag.StringVar(&c.resume, "resume", "", "append results to this `file`, and skip what it has as killed")
	flag.BoolVar(&c.list, "list", false, "print the mutants and run nothing")
	flag.BoolVar(&c.reach, "reach", false, "report the mutants that no test reaches, and try none")
	flag.IntVar(&c.sample, "sample", 0, "try only this `number` of mutants that are not listed, the same ones each time")
	flag.StringVar(&c.equivalent, "equivalent", "internal/mutate/equivalent.txt", "`file` of the mutants that nothing can notice")
	flag.Parse()
	c.dir, c.out = ".", os.Stdout
	c.files = strings.Split(files, ",")
	if tests != "" {
		c.tests = strings.Split(tests, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	results, err := run(ctx, c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if count(results, survived)+count(results, unreached) > 0 {
		os.Exit(1)
	}
}

// run mutates the files of a tree and returns the result of each mutant.
func run(ctx context.Context, c config) ([]result, error) {
	tmp, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	reviewed, err := readEquivalent(c.equivalent)
	if err != nil {
		return nil, err
	}
	before, err := readResults(c.resume)
	if err != nil {
		return nil, err
	}
	p, err := prepare(ctx, c, tmp)
	if err != nil {
		return nil, err
	}
	if c.list {
		for _, m := range p.mutants {
			fmt.Fprintf(c.out, "%s:%d: %s: %s\n", m.File, m.Line, m.Func, m.Change)
		}
		return nil, nil
	}
	name := c.resume
	if c.reach {
		name = "" // nothing is decided
	}
	log, err := openLog(name)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	if c.sample > 0 {
		p.mutants = slices.DeleteFunc(p.mutants, func(m mutant) bool { return reviewed[m.key()] })
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(p.mutants), func(i, j int) { p.mutants[i], p.mutants[j] = p.mutants[j], p.mutants[i] })
		p.mutants = p.mutants[:min(c.sample, len(p.mutants))]
	}
	var results []result
	current := map[string]bool{}
	todo := map[string][]mutant{} // by package
	for _, m := range p.mutants {
		current[m.key()] = true
		old, seen := before[m.key()]
		switch {
		case reviewed[m.key()]:
			results = append(results, result{mutant: m, Status: equivalent})
		case seen && (old.Status == killed || old.Status == timedOut):
			old.mutant = m
			results = append(results, old)
		default:
			path := p.packageOf(m)
			todo[path] = append(todo[path], m)
		}
	}
	for key := range reviewed {
		file, _, _ := strings.Cut(key, "\n")
		if c.sample == 0 && p.mutates(file) && !current[key] {
			fmt.Fprintf(c.out, "equivalent.txt: there is no such mutant: %s\n", strings.ReplaceAll(key, "\n", " | "))
		}
	}
	for _, opposite := range []bool{false, true} {
		for _, path := range p.paths {
			some := slices.DeleteFunc(slices.Clone(todo[path]), func(m mutant) bool { return m.Opposite != opposite })
			got, err := p.try(ctx, path, some, log)
			results = append(results, got...)
			if err != nil {
				return results, err
			}
		}
	}
	summarize(c.out, results)
	return results, nil
}

func count(results []result, status string) (n int) {
	for _, r := range results {
		if r.Status == status {
			n++
		}
	}
	return n
}

// summarize prints the survivors and the counts of each file.
func summarize(w io.Writer, results []result) {
	slices.SortFunc(results, func(a, b result) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.ID, b.ID))
	})
	for _, r := range results {
		if r.Status == survived || r.Status == unreached {
			fmt.Fprintf(w, "%s: %s:%d: %s\n\t%s\n\t%s\n", r.Status, r.File, r.Line, r.Func, r.Code, r.Change)
		}
	}
	fmt.Fprintf(w, "%-24s %7s %7s %7s %9s %9s %10s\n", "file", "mutants", "killed", "timeout", "survived", "unreached", "equivalent")
	line := func(name string, some []result) {
		fmt.Fprintf(w, "%-24s %7d %7d %7d %9d %9d %10d\n", name, len(some), count(some, killed), count(some, timedOut),
			count(some, survived), count(some, unreached), count(some, equivalent))
	}
	for from := 0; from < len(results); {
		to := from
		for to < len(results) && results[to].File == results[from].File {
			to++
		}
		line(results[from].File, results[from:to])
		from = to
	}
	line("all", results)
}

// readResults returns the results of earlier runs, the last one of each mutant.
func readResults(name string) (map[string]result, error) {
	results := map[string]result{}
	if name == "" {
		return results, nil
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return results, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r result
		if json.Unmarshal(lines.Bytes(), &r) == nil { // the last line can be half of one
			results[r.key()] = r
		}
	}
	return results, lines.Err()
}

func openLog(name string) (io.WriteCloser, error) {
	if name == "" {
		return discard{io.Discard}, nil
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// readEquivalent returns the keys of the mutants that a list names. An entry is
// a line "file: function", the line of code, the change, and the reason, with
// an empty line after it. Lines that start with # are comments.
func readEquivalent(name string) (map[string]bool, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	var entry []string
	for i, line := range append(strings.Split(string(text), "\n"), "") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
		case line != "":
			entry = append(entry, line)
		case len(entry) > 0:
			file, fn, ok := strings.Cut(entry[0], ":")
			if len(entry) < 4 || !ok {
				return nil, fmt.Errorf("%s:%d: an entry has its place, its line, its change and a reason", name, i)
			}
			keys[mutant{File: file, Func: strings.TrimSpace(fn), Code: entry[1], Change: entry[2]}.key()] = true
			entry = nil
		}
	}
	return keys, nil
}

// matches reports whether a file is to be changed.
func (c config) matches(file string) bool {
	return slices.ContainsFunc(c.files, func(pattern string) bool {
		ok, _ := filepath.Match(pattern, file)
		return ok
	})
}
