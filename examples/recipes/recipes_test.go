package recipes_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each recipe is a complete program of under 60 lines. They differ only in
// their routes.
func TestRecipes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"chi/main.go", "connect/main.go", "echo/main.go", "gin/main.go", "nethttp/main.go"}, files)
	var first string
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Less(t, bytes.Count(source, []byte("\n")), 60, file)

		_, rest, found := bytes.Cut(source, []byte("\nfunc main() {\n"))
		require.True(t, found, file)
		program, _, found := bytes.Cut(rest, []byte("\nfunc routes("))
		require.True(t, found, file)
		if first == "" {
			first = string(program)
		}
		require.Equal(t, first, string(program), file)
	}
}
