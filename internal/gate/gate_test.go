package gate_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/internal/gate"
)

// enter enters and reports what came of it.
func enter(ctx context.Context, g *gate.Gate, done chan<- error) (leave func()) {
	leave, err := g.Enter(ctx)
	done <- err
	return leave
}

func TestEnter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		running, waiting int
	}{
		{"one", 1, 0},
		{"one, and one waits", 1, 1},
		{"several, and none waits", 4, 0},
		{"several, and more wait", 4, 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := gate.New(c.running, c.waiting)
				for range 3 { // it is as new each time
					var leaves []func()
					for range c.running {
						leave, err := g.Enter(t.Context())
						require.NoError(t, err)
						leaves = append(leaves, leave)
					}
					entered, hold := make(chan error), make(chan struct{})
					for range c.waiting {
						go func() {
							leave := enter(t.Context(), g, entered)
							<-hold
							leave()
						}()
					}
					synctest.Wait()
					select {
					case <-entered:
						t.Fatal("one too many is inside")
					default:
					}
					for range 10 {
						leave, err := g.Enter(t.Context()) // at once, or the bubble deadlocks
						require.Nil(t, leave)
						require.Equal(t, gate.ErrFull, err)
					}
					for _, leave := range leaves {
						leave()
					}
					for range min(c.running, c.waiting) {
						require.NoError(t, <-entered)
					}
					synctest.Wait()
					select {
					case <-entered:
						t.Fatal("one too many followed")
					default:
					}
					close(hold)
					for range c.waiting - min(c.running, c.waiting) {
						require.NoError(t, <-entered)
					}
					synctest.Wait()
				}
			})
		})
	}
}

// Whoever gives up while waiting gives the place back.
func TestEnterWhileTheContextLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(1, 1)
		leave, err := g.Enter(t.Context())
		require.NoError(t, err)
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			none, err := g.Enter(ctx)
			cancel()
			require.Nil(t, none)
			require.Equal(t, context.DeadlineExceeded, err)
			require.Equal(t, time.Second, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go enter(ctx, g, done)
		synctest.Wait()
		_, err = g.Enter(t.Context())
		require.Equal(t, gate.ErrFull, err)
		cancel()
		require.Equal(t, context.Canceled, <-done)

		go enter(t.Context(), g, done)
		synctest.Wait()
		require.Empty(t, done)
		leave()
		require.NoError(t, <-done)
	})
}

func TestStats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(2, 3)
		require.Zero(t, g.Stats())
		one, err := g.Enter(t.Context())
		require.NoError(t, err)
		two, err := g.Enter(t.Context())
		require.NoError(t, err)
		require.Equal(t, gate.Stats{Inside: 2, Entered: 2}, g.Stats())

		ctx, cancel := context.WithCancel(t.Context())
		done, leaves := make(chan error, 3), make(chan func(), 1)
		go func() { leaves <- enter(t.Context(), g, done) }()
		synctest.Wait()
		go enter(ctx, g, done)
		synctest.Wait()
		require.Equal(t, gate.Stats{Inside: 2, Waiting: 2, Entered: 2}, g.Stats())

		time.Sleep(3 * time.Second)
		cancel() // who gives up has not waited for anything
		require.Equal(t, context.Canceled, <-done)
		one()
		require.NoError(t, <-done)
		require.Equal(t, gate.Stats{Inside: 2, Entered: 3, Waited: 3 * time.Second}, g.Stats())
		two()
		(<-leaves)()
		require.Equal(t, gate.Stats{Entered: 3, Waited: 3 * time.Second}, g.Stats())
	})
}

// A context that has ended enters no gate, not even an empty one, and takes no place.
func TestEnterAfterTheContext(t *testing.T) {
	t.Parallel()
	g := gate.New(1, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		leave, err := g.Enter(ctx)
		require.Nil(t, leave)
		require.Equal(t, context.Canceled, err)
	}
	leave, err := g.Enter(t.Context())
	require.NoError(t, err)
	_, err = g.Enter(ctx)
	require.Equal(t, context.Canceled, err, "it says more than that the gate is full")
	leave()
}

// Many callers, some of whom give up at any moment: never are more inside than may be,
// nobody is let in twice, and in the end all places are free.
func TestEnterConcurrently(t *testing.T) {
	t.Parallel()
	const running, waiting, callers, rounds = 3, 5, 64, 200
	g := gate.New(running, waiting)
	var inside, most, entered, full, ended atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for round := range rounds {
				ctx, cancel := context.WithCancel(context.Background())
				if (i+round)%3 == 0 {
					go cancel()
				}
				leave, err := g.Enter(ctx)
				switch {
				case err == nil:
					n := inside.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					runtime.Gosched()
					inside.Add(-1)
					entered.Add(1)
					leave()
				case errors.Is(err, gate.ErrFull):
					full.Add(1)
				case errors.Is(err, context.Canceled):
					ended.Add(1)
				default:
					t.Errorf("Enter: %v", err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, most.Load(), int64(running))
	require.EqualValues(t, callers*rounds, entered.Load()+full.Load()+ended.Load())
	require.Positive(t, entered.Load())

	for range running { // all of them are free
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := g.Enter(ctx)
		require.NoError(t, err)
	}
	ended2, cancel := context.WithCancel(t.Context())
	done := make(chan error, waiting)
	for range waiting {
		go enter(ended2, g, done)
	}
	cancel()
	for range waiting {
		require.ErrorIs(t, <-done, context.Canceled, "a place was lost")
	}
}
