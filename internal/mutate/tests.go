package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A program is a tree with its mutants, as the go command sees it through the overlay.
type program struct {
	config
	tmp      string
	overlay  string
	mutants  []mutant
	last     int                // the highest ID of a mutant
	paths    []string           // packages that are changed
	listed   map[string]*listed // by import path
	binaries map[string]*binary // by import path
}

// A listed package is an entry of go list.
type listed struct {
	ImportPath, Dir, Export, Name      string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
	Standard                           bool
}

// prepare writes the changed files of a tree.
func prepare(ctx context.Context, c config, tmp string) (*program, error) {
	top, err := filepath.Abs(c.dir)
	if err != nil {
		return nil, err
	}
	c.dir = top
	p := &program{config: c, tmp: tmp, listed: map[string]*listed{}, binaries: map[string]*binary{}}
	pattern := "work"
	if _, err := os.Stat(filepath.Join(top, "go.work")); err != nil {
		pattern = "./..."
	}
	out, err := p.golang(ctx, "list", "-export", "-deps", "-json=ImportPath,Dir,Export,Name,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports,Standard", pattern)
	if err != nil {
		return nil, err
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := d.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		p.listed[l.ImportPath] = &l
		if slices.ContainsFunc(l.GoFiles, func(f string) bool { return p.mutates(p.rel(l.Dir, f)) }) {
			p.paths = append(p.paths, l.ImportPath)
		}
	}
	if len(p.paths) == 0 {
		return nil, errors.New("no file matches")
	}
	slices.Sort(p.paths)
	replace := map[string]string{}
	for _, path := range p.paths {
		if err := p.rewrite(p.listed[path], replace); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, path := range p.paths { // the number of mutants is known now
		l := p.listed[path]
		if err := p.write(replace, filepath.Join(l.Dir, "mutate_runtime.go"), runtimeFile(l.Name, p.last)); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	p.overlay = filepath.Join(tmp, "overlay.json")
	return p, os.WriteFile(p.overlay, text, 0o600)
}

// rel returns the name of a file from the top of the tree, or "" outside of it.
func (p *program) rel(dir, file string) string {
	rel, err := filepath.Rel(p.dir, filepath.Join(dir, file))
	if err != nil || strings.HasPrefix(rel, "..") {
		return ""
	}
	return filepath.ToSlash(rel)
}

func (p *program) mutates(file string) bool { return file != "" && p.matches(file) }

func (p *program) packageOf(m mutant) string {
	dir := filepath.Join(p.dir, filepath.FromSlash(path.Dir(m.File)))
	for _, path := range p.paths {
		if p.listed[path].Dir == dir {
			return path
		}
	}
	return ""
}

func (p *program) rewrite(l *listed, replace map[string]string) error {
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		dep := p.listed[path]
		if dep == nil || dep.Export == "" {
			return nil, fmt.Errorf("there is no export data of %s", path)
		}
		return os.Open(dep.Export)
	})
	files, pkg, info, err := parsePackage(fset, l.ImportPath, l.Dir, l.GoFiles, imp)
	if err != nil {
		return err
	}
	r := &rewriter{fset: fset, info: info, pkg: pkg, mutants: &p.mutants, last: &p.last, ids: map[types.Object]int{}, used: map[int]bool{}}
	for i, f := range files {
		if name := p.rel(l.Dir, l.GoFiles[i]); p.mutates(name) {
			text, err := os.ReadFile(filepath.Join(l.Dir, l.GoFiles[i]))
			if err != nil {
				return err
			}
			r.constants(f, name, text)
		}
	}
	for i, f := range files {
		name := p.rel(l.Dir, l.GoFiles[i])
		text, err := r.rewrite(f, name, p.mutates(name))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if text == nil {
			continue
		}
		if err := p.write(replace, filepath.Join(l.Dir, l.GoFiles[i]), text); err != nil {
			return err
		}
	}
	for _, id := range r.ids {
		if !r.used[id] { // the constant is the size of an array, or of other constants
			p.mutants = slices.DeleteFunc(p.mutants, func(m mutant) bool { return m.ID == id })
		}
	}
	return nil
}

func (p *program) write(replace map[string]string, name string, text []byte) error {
	to := filepath.Join(p.tmp, fmt.Sprintf("%d_%s", len(replace), filepath.Base(name)))
	replace[name] = to
	return os.WriteFile(to, text, 0o600)
}

// golang runs the go command at the top of the tree.
func (p *program) golang(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = p.dir
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s%s", args[0], err, problems.Bytes(), out)
	}
	return out, nil
}

// A binary holds the tests of a package, and the mutants that each one reaches.
type binary struct {
	file, dir string
	home      map[string]string // file of each test

	Usual map[string]time.Duration // of each test
	Reach map[int][]string         // tests by mutant
}

// binary compiles the tests of a package and runs each one alone. A package
// without tests has a binary without any.
func (p *program) binary(ctx context.Context, path string) (*binary, error) {
	if b := p.binaries[path]; b != nil {
		return b, nil
	}
	l := p.listed[path]
	if l == nil {
		return nil, fmt.Errorf("there is no package %s", path)
	}
	b := &binary{
		file: filepath.Join(p.tmp, fmt.Sprintf("%d.test", len(p.binaries))), dir: l.Dir,
		home: testFiles(l), Usual: map[string]time.Duration{}, Reach: map[int][]string{},
	}
	p.binaries[path] = b
	if len(l.TestGoFiles)+len(l.XTestGoFiles) == 0 {
		return b, nil
	}
	if _, err := p.golang(ctx, "test", "-c", "-overlay", p.overlay, "-o", b.file, path); err != nil {
		return nil, err
	}
	cache, err := p.cache(b)
	if err != nil {
		return nil, err
	}
	if text, err := os.ReadFile(cache); err == nil && json.Unmarshal(text, b) == nil {
		return b, nil
	}
	if err := p.learn(ctx, path, b); err != nil || cache == "" {
		return b, err
	}
	text, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	return b, os.WriteFile(cache, text, 0o644)
}

// cache returns the name of the file, beside that of the results, that keeps
// the findings of learn.
func (p *program) cache(b *binary) (string, error) {
	if p.resume == "" {
		return "", nil
	}
	text, err := os.ReadFile(b.file)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s.%x", p.resume, sha256.Sum256(append(text, p.run...))), nil
}

// learn runs each test alone, to see the mutants that it reaches.
func (p *program) learn(ctx context.Context, path string, b *binary) error {
	match, err := regexp.Compile(p.run)
	if err != nil {
		return err
	}
	list := exec.CommandContext(ctx, b.file, "-test.list", ".")
	list.Dir = b.dir
	names, err := list.Output()
	if err != nil {
		return err
	}
	start := time.Now()
	for _, name := range strings.Fields(string(names)) {
		if strings.HasPrefix(name, "Benchmark") || !match.MatchString(name) {
			continue
		}
		cover := filepath.Join(p.tmp, "cover")
		os.Remove(cover)
		start := time.Now()
		failed, late, err := b.test(ctx, []string{name}, 10*time.Minute, "MUTATE_COVER="+cover)
		if err != nil {
			return err
		}
		if failed != "" || late {
			fmt.Fprintf(p.out, "%s: %s fails without a mutant, and is left out\n", path, name)
			continue
		}
		b.Usual[name] = time.Since(start)
		text, err := os.ReadFile(cover)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, id := range strings.Fields(string(text)) {
			n, err := strconv.Atoi(id)
			if err != nil {
				return err
			}
			if !slices.Contains(b.Reach[n], name) {
				b.Reach[n] = append(b.Reach[n], name)
			}
		}
	}
	fmt.Fprintf(p.out, "%s: %d tests, each one alone in %.0fs\n", path, len(b.Usual), time.Since(start).Seconds())
	return nil
}

// testFiles returns the file of each test of a package.
func testFiles(l *listed) map[string]string {
	home := map[string]string{}
	for _, name := range slices.Concat(l.TestGoFiles, l.XTestGoFiles) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(l.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			continue // the compiler has reported it
		}
		for _, decl := range f.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				home[f.Name.Name] = name
			}
		}
	}
	return home
}

var failLine = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// test runs tests until the first one fails, and returns its name.
func (b *binary) test(ctx context.Context, names []string, timeout time.Duration, env string) (failed string, late bool, err error) {
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(limit, b.file, "-test.v", "-test.failfast", "-test.run", "^("+strings.Join(names, "|")+")$", "-test.timeout", "0")
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), env)
	group(cmd)
	cmd.WaitDelay = 5 * time.Second
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return "", false, err
	}
	found := make(chan string, 1)
	go func() {
		name := ""
		lines := bufio.NewReader(r)
		for {
			line, err := lines.ReadString('\n')
			if m := failLine.FindStringSubmatch(line); m != nil && name == "" {
				name = m[1]
				cancel() // one is enough
			}
			if err != nil {
				break
			}
		}
		found <- name
	}()
	err = cmd.Wait()
	w.Close()
	failed = <-found
	switch {
	case ctx.Err() != nil:
		return "", false, ctx.Err()
	case failed != "":
		return failed, false, nil
	case limit.Err() != nil:
		return "", true, nil
	case err != nil: // a panic, or an exit
		return strings.Join(names[:1], ""), false, nil
	}
	return "", false, nil
}

// try runs the tests of a package, and of its importers, on mutants of the package.
func (p *program) try(ctx context.Context, path string, mutants []mutant, log io.Writer) ([]result, error) {
	var results []result
	write := func(r result) error {
		results = append(results, r)
		line, err := json.Marshal(r)
		if err == nil {
			_, err = log.Write(append(line, '\n'))
		}
		return err
	}
	packages := append([]string{path}, p.importers(path)...)
	for i, from := range packages {
		if len(mutants) == 0 {
			break
		}
		b, err := p.binary(ctx, from)
		if err != nil {
			return results, err
		}
		var left []mutant
		killers := map[string][]string{} // by function
		for n, m := range mutants {
			if n%100 == 0 {
				fmt.Fprintf(p.out, "%s: %s: %d of %d\n", path, from, n, len(mutants))
			}
			r, err := p.one(ctx, b, m, killers)
			if err != nil {
				return results, err
			}
			if r.Status == survived || r.Status == unreached {
				left = append(left, m)
				if i < len(packages)-1 {
					continue
				}
			}
			if err := write(r); err != nil {
				return results, err
			}
		}
		mutants = left
	}
	return results, nil
}

// importers returns the packages whose tests run for survivors.
func (p *program) importers(path string) []string {
	var some []string
	for _, name := range p.tests {
		for _, l := range p.listed {
			if rel := p.rel(l.Dir, ""); !l.Standard && rel != "" && rel == filepath.ToSlash(filepath.Clean(name)) && l.ImportPath != path {
				some = append(some, l.ImportPath)
			}
		}
	}
	if p.tests != nil {
		return some
	}
	for _, l := range p.listed {
		if l.ImportPath != path && slices.Contains(slices.Concat(l.Imports, l.TestImports, l.XTestImports), path) {
			some = append(some, l.ImportPath)
		}
	}
	slices.Sort(some)
	return some
}

// one runs the tests that reach a mutant: those that killed its neighbours,
// then those of the file's own tests, then the quick ones, then the rest.
func (p *program) one(ctx context.Context, b *binary, m mutant, killers map[string][]string) (result, error) {
	start := time.Now()
	r := result{mutant: m, Status: survived}
	tests := slices.Clone(b.Reach[m.ID])
	if len(tests) == 0 {
		r.Status = unreached
		return r, nil
	}
	if p.reach {
		r.Status = reached
		return r, nil
	}
	own := strings.TrimSuffix(path.Base(m.File), ".go")
	rank := func(test string) int {
		switch {
		case slices.Contains(killers[m.Func], test):
			return 0
		case strings.HasPrefix(b.home[test], own):
			return 1
		}
		return 2
	}
	slices.SortFunc(tests, func(x, y string) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(b.Usual[x], b.Usual[y]))
	})
	var all time.Duration
	for i, test := range tests {
		if all += b.Usual[test]; all > p.most && i > 0 {
			tests = tests[:i]
			break
		}
	}
	for _, most := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 15 * time.Second, time.Hour} {
		var batch []string
		var sum time.Duration
		for len(tests) > 0 && (len(batch) == 0 || sum+b.Usual[tests[0]] <= most) {
			batch, sum, tests = append(batch, tests[0]), sum+b.Usual[tests[0]], tests[1:]
		}
		if len(batch) == 0 {
			break
		}
		failed, late, err := b.test(ctx, batch, p.timeout+10*sum, "MUTATE_ID="+strconv.Itoa(m.ID))
		if err != nil {
			return r, err
		}
		r.Seconds = time.Since(start).Seconds()
		if late {
			r.Status = timedOut
			return r, nil
		}
		if failed != "" {
			r.Status, r.Test = killed, failed
			test, _, _ := strings.Cut(failed, "/")
			if rank(test) > 0 {
				killers[m.Func] = append([]string{test}, killers[m.Func]...)
				killers[m.Func] = killers[m.Func][:min(3, len(killers[m.Func]))]
			}
			return r, nil
		}
	}
	return r, nil
}
