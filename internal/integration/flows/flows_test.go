package flows_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/storetest/faults"
	"github.com/authkit-go/authkit/throttle"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/trusteddevice"
)

// A step is an action of a client or of the program. It can be repeated.
type step func(ctx context.Context) error

// A flow is a step of which each call of a store and of a mailer fails in turn.
type flow struct {
	// prepare brings a new app into the state before the step, and returns the step.
	prepare func(a *app) step

	// ahead are the parts of the state that a step that failed may have changed
	// alone: a code or a link that it used up.
	ahead []string

	// apart are those that it may also have changed alone if the stores of the
	// features do not join the transactions of the accounts, as those in memory.
	apart []string

	// gone are the statuses of a repeated step that was done by the first one.
	gone []int

	// more is set if a step that is repeated has a further effect, such as a
	// second key.
	more bool

	// wait is the time until the program repeats an action that was lost.
	wait time.Duration

	// ends is set if a session that was begun may have ended again, because the
	// client got no credential of it.
	ends bool
}

// memory returns stores in memory.
func memory(*testing.T) stores {
	return stores{
		authkit.NewMemoryStore(), account.NewMemoryStore(), totp.NewMemoryStore(), passkey.NewMemoryStore(), trusteddevice.NewMemoryStore(),
		apikey.NewMemoryStore(), org.NewMemoryStore(), throttle.NewMemory(1000),
	}
}

// RF-06, RE-05, ST-02: see testFlows.
func TestFlowsInMemory(t *testing.T) { testFlows(t, memory, false) }

// testFlows lets each call of each flow fail in each way, and checks:
//   - The client gets an answer that is true, with a fixed text.
//   - All of the change is made or nothing of it, except for the parts that the
//     flow names.
//   - No failure counts against the user.
//   - A change has its events, unless the failure of the store has one.
//     There is no event without a change.
//   - The same step succeeds afterwards.
func testFlows(t *testing.T, open func(t *testing.T) stores, atomic bool) {
	for _, name := range slices.Sorted(maps.Keys(flows)) {
		f := flows[name]
		if atomic && len(f.apart) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var done outcome
			faults.Each(t, func(t *testing.T, in *faults.Injector) {
				if atomic && in.Kind() > faults.Lose {
					t.SkipNow() // the database sees no difference to a call that fails
				}
				synctest.Test(t, func(t *testing.T) { f.run(newApp(t, in, open(t)), atomic, &done) })
			})
		})
	}
}

// An outcome is that of a flow without a failure.
type outcome struct {
	state  state
	events []authkit.EventKind
}

func (f flow) run(a *app, atomic bool, done *outcome) {
	t := a.t
	again := f.prepare(a)
	before := a.state()
	a.take()
	err := a.in.Do(t.Context(), again)
	kinds, told := a.take()
	time.Sleep(f.wait)
	after := a.state()
	if a.in.Kind() == faults.None {
		require.NoError(t, err)
		*done = outcome{after, kinds}
		return
	}
	a.checkAnswer(err)
	free := slices.Concat(f.ahead, []string{"attempts"})
	if !atomic && err != nil {
		free = append(free, f.apart...)
	}
	if told {
		free = append(free, "mails")
	}
	changed := f.checkState(a, free, err, before, after, done.state)
	for _, kind := range done.events {
		has := slices.Contains(kinds, kind)
		if changed && !told {
			require.True(t, has, "there is no event %s: %v", kind, kinds)
		}
		if maps.Equal(before, after) && !maps.Equal(before, done.state) && isChange(kind) && !f.ends {
			require.False(t, has, "an event %s of no change", kind)
		}
	}
	if err == nil {
		return
	}
	a.tried = true
	err = again(t.Context())
	time.Sleep(f.wait)
	if r, ok := errors.AsType[*response](err); changed && ok && slices.Contains(f.gone, r.status) {
		err = nil
	}
	require.NoError(t, err, "the second try")
	if !changed || !f.more {
		final := a.state()
		for _, part := range parts {
			if !slices.Contains(f.ahead, part) && part != "mails" && part != "attempts" {
				require.Equal(t, done.state[part], final[part], "%s after the second try", part)
			}
		}
	}
}

// parts are those of a state.
var parts = append([]string{"accounts", "sessions", "active", "services", "mails", "attempts"}, features...)

// checkState reports whether the change was made. A mail that only tells of a
// change may be missing if an event tells of the failure.
func (f flow) checkState(a *app, free []string, err error, before, after, done state) (changed bool) {
	t := a.t
	all, none := true, true
	for _, part := range parts {
		changed = changed || after[part] != before[part] && part != "attempts"
		switch {
		case slices.Contains(free, part):
		case err == nil:
			require.Equal(t, done[part], after[part], "%s after a success", part)
		case before[part] == done[part]:
			require.Equal(t, done[part], after[part], "%s: %v", part, err)
		case after[part] == before[part]:
			all = false
		default:
			require.Equal(t, done[part], after[part], "%s: %v", part, err)
			none = false
		}
	}
	require.True(t, all || none, "half of the change was made: %v\nbefore %v\nafter %v\ndone %v", err, before, after, done)
	return changed || err == nil
}

// take returns the kinds of the events since the last call, and
// whether there is one of a failure.
func (a *app) take() (kinds []authkit.EventKind, told bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.Err != nil || e.Kind == authkit.EventStoreFailure {
			told = true
		} else {
			kinds = append(kinds, e.Kind)
		}
	}
	a.events = nil
	return kinds, told
}

// isChange reports whether an event is about a change of the state.
func isChange(kind authkit.EventKind) bool {
	return !slices.Contains([]authkit.EventKind{authkit.EventPasswordCheck, authkit.EventLoginChallenge}, kind)
}

// checkAnswer checks the answer of a request that failed.
func (a *app) checkAnswer(err error) {
	t := a.t
	r, ok := errors.AsType[*response](err)
	if !ok {
		if err != nil && a.in.Kind() != faults.Cancel {
			require.ErrorIs(t, err, authkit.ErrUnavailable)
		}
		return
	}
	require.Equal(t, http.StatusServiceUnavailable, r.status, r.body)
	require.NotEmpty(t, r.header.Get("Retry-After"))
	if text := "Temporarily unavailable"; strings.HasPrefix(r.body, "{") {
		require.Equal(t, text, r.member("detail"), r.body)
	}
	require.NotContains(t, r.body, "faults")
	require.False(t, strings.Contains(r.body, password), r.body)
}
