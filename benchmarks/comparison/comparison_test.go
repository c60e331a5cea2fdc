package main

import (
	"bytes"
	"flag"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/authkit-go/authkit/contract"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table into the page")

const (
	page  = "../../docs/comparison.md"
	begin = "<!-- the output of the command -->\n"
	end   = "<!-- end of the output -->\n"
)

// The page has the table that the command prints.
func TestPage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("an attack needs a second loopback address, which only Linux has")
	}
	var details bytes.Buffer
	columns, err := attack(t.Context(), &details)
	require.NoError(t, err)
	modules, err := versions("../go.mod")
	require.NoError(t, err)
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok)
	published, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := "\n" + markdown(columns, modules) + "\n"
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(before+begin+want+end+after), 0o644))
		return
	}
	assert.Equal(t, want, published, "run go test ./comparison -update, and write the date on the page\n%s", details.String())
}

// Each attack belongs to an area or is left out, and each area and each skipped
// attack exists.
func TestAreas(t *testing.T) {
	used := map[int]bool{}
	var ids []string
	for _, a := range contract.Attacks() {
		at, err := row(a.ID)
		assert.NoError(t, err)
		used[at] = true
		ids = append(ids, a.ID)
	}
	for i, a := range areas {
		assert.True(t, used[i], a.name)
	}
	_, err := row("unknown.attack")
	assert.Error(t, err)
	for _, p := range programs() {
		for _, id := range p.skip {
			assert.True(t, slices.Contains(ids, id), id)
		}
		assert.NotEqual(t, "", p.module)
	}
}
