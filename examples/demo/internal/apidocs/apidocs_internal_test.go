package apidocs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProse asserts that nothing but code and bold becomes markup.
func TestProse(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, "<p>a <code>b&lt;c&gt;</code> &amp; <strong>d</strong></p><p>&lt;script&gt;</p>",
		prose("a `b<c>` & **d**\n\n<script>"))
}
