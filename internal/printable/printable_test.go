package printable_test

import (
	"testing"

	"github.com/authkit-go/authkit/internal/printable"
	"github.com/stretchr/testify/require"
)

func TestText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 4, ""}, {"abcd", 4, "abcd"}, {"abcde", 4, "abcd"}, {"aé", 2, "a"}, {"aé", 3, "aé"}, {"a\tb", 4, "a b"},
		{"a\u200eb", 4, "a b"}, {"a\xffb", 4, "a b"}, {"~ ", 4, "~ "}, {"\u007f", 4, " "},
	} {
		require.Equal(t, c.want, printable.Text(c.in, c.limit), "%q", c.in)
	}
}
