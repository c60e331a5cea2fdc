package contract_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/authkit-go/authkit/contract"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of docs/security.md")

// The table of docs/security.md has every attack with its requirement and the
// defect that proves it. Write it with: go test ./contract -run Docs -update
func TestDocs(t *testing.T) {
	const file, begin, end = "../docs/security.md", "<!-- attacks: begin -->\n", "<!-- attacks: end -->\n"
	attacks := contract.Attacks()
	slices.SortStableFunc(attacks, func(a, b contract.Attack) int { return strings.Compare(a.Requirement, b.Requirement) })
	var b strings.Builder
	b.WriteString("| attack | requirement | defect that it notices |\n|---|---|---|\n")
	for _, a := range attacks {
		fmt.Fprintf(&b, "| `%s`: %s | %s (%s) | %s |\n", a.ID, strings.TrimSuffix(a.Text, "."), a.Requirement, a.Source, trips[a.ID])
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := before + begin + b.String() + end + after
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o600))
		return
	}
	require.Equal(t, want, string(text), "write the table with: go test ./contract -run Docs -update")
}

var requirement = regexp.MustCompile(`\b[A-Z]{2}-\d\d[a-z]?\b`)

// Each requirement of docs/security.md has an attack, or a reason why it has
// none. No number is left out: those without a row are explained below the
// tables.
func TestEveryRequirementIsAttacked(t *testing.T) {
	text, err := os.ReadFile("../docs/security.md")
	require.NoError(t, err)
	tables, rest, ok := strings.Cut(string(text), "## Attacks\n")
	require.True(t, ok)
	_, rest, ok = strings.Cut(rest, "### Requirements without an attack\n")
	require.True(t, ok)
	reasons, rest, ok := strings.Cut(rest, "\n## ")
	require.True(t, ok)

	attacked, rows, last := map[string]bool{}, map[string]bool{}, map[string]int{}
	for _, a := range contract.Attacks() {
		attacked[a.Requirement] = true
	}
	for line := range strings.Lines(tables) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		for _, id := range requirement.FindAllString(strings.Split(line, "|")[1], -1) {
			rows[id] = true
		}
	}
	explained := requirement.FindAllString(reasons, -1)
	for id := range rows {
		n, err := strconv.Atoi(id[3:5])
		require.NoError(t, err)
		last[id[:2]] = max(last[id[:2]], n)
		assert.True(t, attacked[id] || slices.Contains(explained, id), "%s has no attack and no reason in docs/security.md", id)
	}
	for _, id := range explained {
		assert.True(t, rows[id], "docs/security.md explains %s, which has no row", id)
		assert.False(t, attacked[id], "docs/security.md explains %s, which has an attack", id)
	}
	for id := range attacked {
		assert.True(t, rows[id], "%s has an attack and no row in docs/security.md", id)
	}
	for prefix, n := range last {
		for i := 1; i <= n; i++ {
			id := fmt.Sprintf("%s-%02d", prefix, i)
			assert.True(t, rows[id] || strings.Contains(rest, id), "docs/security.md does not mention %s", id)
		}
	}
}
