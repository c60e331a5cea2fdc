package trail_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/trail"
)

// lineOf returns the line of an entry.
func lineOf(t testing.TB, e audit.Entry) string {
	t.Helper()
	text, err := json.Marshal(e)
	require.NoError(t, err)
	return string(text) + "\n"
}

// forgeZone returns a line with the same moment in another zone.
func forgeZone(t testing.TB, line string) string {
	t.Helper()
	for e, err := range trail.ReadEntries(strings.NewReader(line)) {
		require.NoError(t, err)
		e.Time = e.Time.In(time.FixedZone("", 3600))
		return lineOf(t, e)
	}
	return ""
}
