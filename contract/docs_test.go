package contract_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/authkit-go/authkit/contract"
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
