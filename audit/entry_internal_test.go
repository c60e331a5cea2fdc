package audit

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// eventKinds returns the event kinds that the root package declares.
func eventKinds(t *testing.T) map[string]authkit.EventKind {
	t.Helper()
	names, err := filepath.Glob("../*.go")
	require.NoError(t, err)
	kinds := map[string]authkit.EventKind{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if id, ok := spec.Type.(*ast.Ident); ok && id.Name == "EventKind" && len(spec.Values) == 1 {
				kind, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				kinds[spec.Names[0].Name] = authkit.EventKind(kind)
			}
			return true
		})
	}
	return kinds
}

// AU-01: every kind of event is written, and somebody has thought about who did it.
func TestEveryEventKind(t *testing.T) {
	t.Parallel()
	kinds := eventKinds(t)
	require.GreaterOrEqual(t, len(kinds), 23, "the way kinds are declared has changed")
	for name, kind := range kinds {
		a, known := actorOf(kind)
		require.True(t, known, "%s is not in actorOf", name)
		e := newEntry(t.Context(), authkit.Event{Kind: kind, UserID: "u1"})
		require.Equal(t, kind, e.Kind)
		require.Equal(t, "u1", e.TargetID)
		want := ""
		if a == loggedInUser {
			want = "u1"
		}
		require.Equal(t, want, e.ActorID, name)
		e = newEntry(t.Context(), authkit.Event{Kind: kind, UserID: "u1", ActorID: "system:cli:olga"})
		require.Equal(t, "system:cli:olga", e.ActorID, "%s: the event knows better", name)
		require.Equal(t, "u1", e.TargetID)
		if a == caller {
			e = newEntry(authkit.WithSystem(t.Context(), "job"), authkit.Event{Kind: kind, UserID: "u1"})
			require.Equal(t, "system:job", e.ActorID, name)
		}
	}
	_, known := actorOf("a_kind_of_the_hosts")
	require.False(t, known)
}

// FR-02: every kind of event is in exactly one of the two lists of isHighVolume; a switch
// takes no kind twice. A new kind must be put into one of them.
func TestEveryEventKindHasAShare(t *testing.T) {
	t.Parallel()
	for name, kind := range eventKinds(t) {
		_, known := isHighVolume(kind)
		require.True(t, known, "%s is in no list of isHighVolume", name)
	}
	high, known := isHighVolume("a_kind_of_the_hosts")
	require.True(t, high, "a kind that is in no list")
	require.False(t, known)
}

// FR-02: only events that cost a hash or change something use all of the queue.
func TestFloods(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind   authkit.EventKind
		reason authkit.Reason
		floods bool
	}{
		{authkit.EventAccessDenied, authkit.ReasonMissingRole, true},
		{authkit.EventAccessDenied, authkit.ReasonCrossOrigin, true},
		{authkit.EventTokenRefused, authkit.ReasonExpired, true},
		{authkit.EventRefreshFailure, authkit.ReasonMalformed, true},
		{authkit.EventSessionRenewed, "", true},
		{authkit.EventStoreFailure, authkit.ReasonStore, true},
		{authkit.EventLoginThrottled, authkit.ReasonThrottled, true},
		{authkit.EventRateLimited, authkit.ReasonThrottled, true},
		{authkit.EventLoginFailure, authkit.ReasonStore, true},
		{authkit.EventLoginFailure, authkit.ReasonCanceled, true},
		{authkit.EventLoginFailure, authkit.ReasonTimeout, true},
		{authkit.EventLoginFailure, authkit.ReasonOverloaded, true},
		{authkit.EventLoginFailure, authkit.ReasonInternal, true},
		{authkit.EventLoginFailure, authkit.ReasonMalformed, true}, // an answer to no challenge
		{authkit.EventLoginFailure, authkit.ReasonWrongProof, true},
		{authkit.EventLoginFailure, "a reason of tomorrow", true},
		{authkit.EventPasswordCheck, authkit.ReasonStore, true},
		{"a_kind_of_the_hosts", "", true},

		{authkit.EventLoginSuccess, "", false},
		{authkit.EventLoginChallenge, "", false},
		{authkit.EventLoginFailure, authkit.ReasonUnknownUser, false},
		{authkit.EventLoginFailure, authkit.ReasonWrongPassword, false},
		{authkit.EventLoginFailure, authkit.ReasonNoPassword, false},
		{authkit.EventLoginFailure, authkit.ReasonUnreadableHash, false},
		{authkit.EventLoginFailure, authkit.ReasonDisabled, false},
		{authkit.EventLoginFailure, authkit.ReasonLocked, false},
		{authkit.EventLoginFailure, authkit.ReasonUnverified, false},
		{authkit.EventLoginFailure, authkit.ReasonWrongCode, false},
		{authkit.EventPasswordCheck, "", false},
		{authkit.EventPasswordCheck, authkit.ReasonWrongPassword, false},
		{authkit.EventPasswordRehash, authkit.ReasonStore, false},
		{authkit.EventTokenReuse, authkit.ReasonReused, false},
		{authkit.EventRolesChanged, "", false},
		{authkit.EventUserDisabled, "", false},
	} {
		require.Equal(t, c.floods, usesHalfQueue(authkit.Event{Kind: c.kind, Reason: c.reason}), "%s %s", c.kind, c.reason)
	}
}

// AU-03: the text of an error may hold whatever a database or a hook wrote.
func TestErrorsAreNotWritten(t *testing.T) {
	t.Parallel()
	e := newEntry(t.Context(), authkit.Event{Kind: authkit.EventStoreFailure, Err: errors.New("hunter2")})
	require.Equal(t, Failure, e.Outcome)
	require.NotContains(t, fmt.Sprintf("%+v", e), "hunter2")
}

// AU-04, for every text of an entry.
func TestEntriesAreClean(t *testing.T) {
	t.Parallel()
	evil := "a\r\n\x00\x1b[31m\u202e\u2028\xff" + strings.Repeat("é", 5000)
	ctx := authkit.WithClient(context.Background(), authkit.ClientInfo{Address: evil, Device: evil, RequestID: evil})
	e := newEntry(ctx, authkit.Event{
		Kind: authkit.EventKind(evil), UserID: evil, ActorID: evil, SessionID: evil, Reason: authkit.Reason(evil), Route: evil,
	})
	require.LessOrEqual(t, len(e.Agent), 256)
	for _, text := range []string{string(e.Kind), string(e.Reason), e.Route, e.SessionID, e.Address, e.Agent, e.RequestID, e.ActorID, e.TargetID} {
		require.True(t, utf8.ValidString(text))
		require.True(t, strings.HasPrefix(text, "a   "), text)
		require.LessOrEqual(t, len(text), 256)
		require.GreaterOrEqual(t, len(text), 63)
		require.False(t, strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), text)
	}
}
