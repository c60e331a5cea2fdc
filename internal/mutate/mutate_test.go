package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sample returns a copy of the package in testdata, as a module.
func sample(t *testing.T) config {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("testdata/sample")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/sample\n\ngo 1.26.0\n"), 0o600))
	return config{
		dir: dir, files: []string{"door.go"}, most: time.Hour, timeout: time.Minute, out: io.Discard,
		resume: filepath.Join(dir, "results.jsonl"), equivalent: filepath.Join(dir, "equivalent.txt"),
	}
}

// What a test notices is killed, and the rest is reported.
func TestRun(t *testing.T) {
	t.Parallel()
	c := sample(t)
	var out strings.Builder
	c.out = &out
	results, err := run(context.Background(), c)
	require.NoError(t, err)

	got := map[string]string{}
	for _, r := range results {
		got[r.Func+": "+r.Change] = r.Status
		if r.Status == killed {
			require.NotEmpty(t, r.Test, r.Change)
		}
	}
	want := map[string]string{
		": forget = time.Hour → twice as long": killed,
		": maxTries = 3 → + 1":                 killed,

		"Door.Open: d.Tries >= maxTries → d.Tries > maxTries":       killed,
		"Door.Open: d.Tries >= maxTries → d.Tries < maxTries":       killed,
		"Door.Open: drop: || d.Tries >= maxTries":                   killed,
		"Door.Open: drop: || d.Locked":                              killed,
		"Door.Open: d.Locked → !(…)":                                killed,
		"Door.Open: drop: if d.Tries >= maxTries || d.Locked { … }": killed,
		`Door.Open: key != "right" → key == "right"`:                killed,
		`Door.Open: drop: if key != "right" { … }`:                  killed,
		"Door.Open: delete: d.Tries++":                              killed,
		"Door.Open: delete: d.Tries = 0":                            killed,
		`Door.Open: delete: d.note("wrong")`:                        survived,
		`Door.Open: delete: d.note("opened")`:                       survived,
		"Door.note: delete: d.Log = append(d.Log, what)":            survived,

		"Door.Fresh: now.Sub(d.Since) < forget → now.Sub(d.Since) >= forget": killed,
		"Door.Fresh: now.Sub(d.Since) < forget → now.Sub(d.Since) <= forget": survived,
		"Door.Fresh: drop: && now.Sub(d.Since) < forget":                     killed,
		"Door.Fresh: drop: && !d.Locked":                                     survived,
		"Door.Fresh: !d.Locked → !(…)":                                       killed,

		`Query: drop: tenant = ?, 1 of "SELECT id" + table`:             killed,
		`Query: drop: tenant = ?, 1 of " OR tenant = ? AND tenant = ?"`: killed,
		`Query: drop: tenant = ?, 2 of " OR tenant = ? AND tenant = ?"`: killed,

		"Never: delete: d.Locked = true":         unreached,
		"Never: true → false in d.Locked = true": unreached,
	}
	require.Equal(t, want, got)
	require.Contains(t, out.String(), "survived: door.go:35: Door.Open\n\td.note(\"opened\")\n\tdelete: d.note(\"opened\")\n")
	require.Regexp(t, `(?m)^all +25 +18 +0 +5 +2 +0$`, out.String())
}

// A sample has the same mutants each time, and none that is listed.
func TestSample(t *testing.T) {
	t.Parallel()
	c := sample(t)
	c.sample, c.reach, c.out = 24, true, io.Discard
	listed := mutant{File: "door.go", Func: "Door.Fresh", Code: "return now.Sub(d.Since) < forget && !d.Locked", Change: "drop: && !d.Locked"}
	require.NoError(t, os.WriteFile(c.equivalent, []byte(listed.File+": "+listed.Func+"\n"+listed.Code+"\n"+listed.Change+"\nA reason.\n"), 0o600))
	keys := func() (keys []string) {
		results, err := run(context.Background(), c)
		require.NoError(t, err)
		for _, r := range results {
			keys = append(keys, r.key())
		}
		return keys
	}
	all := keys()
	require.Len(t, all, 24)
	require.NotContains(t, all, listed.key())
	c.sample = 5
	some := keys()
	require.Len(t, some, 5)
	require.Equal(t, some, keys())
	require.Subset(t, all, some)
}

// A second run tries only what was not killed. A reviewed mutant is not tried.
func TestResume(t *testing.T) {
	t.Parallel()
	c := sample(t)
	c.run = "TestFresh"
	_, err := run(context.Background(), c)
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(c.equivalent, []byte(`# Comments are left out.

door.go: Door.Fresh
return now.Sub(d.Since) < forget && !d.Locked
now.Sub(d.Since) < forget → now.Sub(d.Since) <= forget
A nanosecond decides nothing.

door.go: Gone
x()
delete: x()
The line is no more.
`), 0o600))
	var out strings.Builder
	c.out, c.run = &out, "TestOpen"
	results, err := run(context.Background(), c)
	require.NoError(t, err)
	require.Equal(t, 25, len(results))
	require.Equal(t, 1, count(results, equivalent))
	require.Contains(t, out.String(), "there is no such mutant: door.go | Gone | x() | delete: x()")
	for _, r := range results {
		switch {
		case r.Func == "Door.Open" && r.Status == killed:
			require.Equal(t, "TestOpen", r.Test)
		case r.Func == "Door.Fresh" && r.Status == killed:
			require.Equal(t, "TestFresh", r.Test)
		}
	}
	require.Greater(t, count(results, killed), 10)
}

// What is only reached is not decided.
func TestReach(t *testing.T) {
	t.Parallel()
	c := sample(t)
	c.reach = true
	results, err := run(context.Background(), c)
	require.NoError(t, err)
	require.Equal(t, 2, count(results, unreached))
	require.Equal(t, 23, count(results, reached))
	require.NoFileExists(t, c.resume)
}

// A mutant that never ends is reported as such.
func TestTimeout(t *testing.T) {
	t.Parallel()
	c := sample(t)
	c.files, c.run, c.timeout = []string{"loop.go"}, "TestHalves", time.Second
	results, err := run(context.Background(), c)
	require.NoError(t, err)
	for _, r := range results {
		if r.Change == "drop: if n == 0 { … }" {
			require.Equal(t, timedOut, r.Status)
		}
	}
	require.Len(t, results, 2)
	require.Positive(t, count(results, timedOut))
}

// The list of reviewed mutants names a reason for each.
func TestEquivalent(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "list.txt")
	for _, text := range []string{"door.go: F\nx()\ndelete: x()\n", "no place\nx()\ndelete: x()\nreason\n"} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		_, err := readEquivalent(name)
		require.ErrorContains(t, err, "a reason", text)
	}
	_, err := readEquivalent("equivalent.txt")
	require.NoError(t, err)
}

// What cannot be tried is an error.
func TestRunFaults(t *testing.T) {
	t.Parallel()
	c := sample(t)
	c.files = []string{"nothing.go"}
	_, err := run(context.Background(), c)
	require.ErrorContains(t, err, "no file matches")

	c = sample(t)
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "more.go"), []byte("package sample\n\nvar x int = \"\"\n"), 0o600))
	_, err = run(context.Background(), c)
	require.Error(t, err)
}
