package storetest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/storetest"
)

// brokenJobs is a MemoryStore of package account with one or two methods
// replaced.
type brokenJobs struct {
	*account.MemoryStore
	put      func(ctx context.Context, j account.Job) error
	claim    func(ctx context.Context, at, until time.Time) (account.Job, error)
	postpone func(ctx context.Context, id string, attempts int, due time.Time) error
	remove   func(ctx context.Context, id string, attempts int) (bool, error)
	times    func(ctx context.Context, key string) ([]time.Time, int64, error)
	set      func(ctx context.Context, key string, times []time.Time, version int64, expires time.Time) error
	expire   func(ctx context.Context, at time.Time, limit int) (int, error)
}

func (b *brokenJobs) PutJob(ctx context.Context, j account.Job) error {
	if b.put != nil {
		return b.put(ctx, j)
	}
	return b.MemoryStore.PutJob(ctx, j)
}

func (b *brokenJobs) ClaimJob(ctx context.Context, at, until time.Time) (account.Job, error) {
	if b.claim != nil {
		return b.claim(ctx, at, until)
	}
	return b.MemoryStore.ClaimJob(ctx, at, until)
}

func (b *brokenJobs) PostponeJob(ctx context.Context, id string, attempts int, due time.Time) error {
	if b.postpone != nil {
		return b.postpone(ctx, id, attempts, due)
	}
	return b.MemoryStore.PostponeJob(ctx, id, attempts, due)
}

func (b *brokenJobs) DeleteJob(ctx context.Context, id string, attempts int) (bool, error) {
	if b.remove != nil {
		return b.remove(ctx, id, attempts)
	}
	return b.MemoryStore.DeleteJob(ctx, id, attempts)
}

func (b *brokenJobs) Times(ctx context.Context, key string) ([]time.Time, int64, error) {
	if b.times != nil {
		return b.times(ctx, key)
	}
	return b.MemoryStore.Times(ctx, key)
}

func (b *brokenJobs) SetTimes(ctx context.Context, key string, times []time.Time, version int64, expires time.Time) error {
	if b.set != nil {
		return b.set(ctx, key, times, version, expires)
	}
	return b.MemoryStore.SetTimes(ctx, key, times, version, expires)
}

func (b *brokenJobs) DeleteExpiredJobs(ctx context.Context, at time.Time, limit int) (int, error) {
	if b.expire != nil {
		return b.expire(ctx, at, limit)
	}
	return b.MemoryStore.DeleteExpiredJobs(ctx, at, limit)
}

// jobMutants each break one promise of account.Store.
var jobMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenJobs, m *account.MemoryStore)
}{
	"cuts times to the second": {"PutAndClaim", func(b *brokenJobs, m *account.MemoryStore) {
		b.put = func(ctx context.Context, j account.Job) error {
			j.ExpiresAt = j.ExpiresAt.Truncate(time.Second)
			return m.PutJob(ctx, j)
		}
	}},
	"returns the attempts before": {"PutAndClaim", func(b *brokenJobs, m *account.MemoryStore) {
		b.claim = func(ctx context.Context, at, until time.Time) (account.Job, error) {
			j, err := m.ClaimJob(ctx, at, until)
			j.Attempts--
			return j, err
		}
	}},
	"has no lease": {"Lease", func(b *brokenJobs, m *account.MemoryStore) {
		b.claim = func(ctx context.Context, at, _ time.Time) (account.Job, error) { return m.ClaimJob(ctx, at, at) }
	}},
	"has a lease that is too long": {"Lease", func(b *brokenJobs, m *account.MemoryStore) {
		b.claim = func(ctx context.Context, at, until time.Time) (account.Job, error) {
			return m.ClaimJob(ctx, at, until.Add(time.Microsecond))
		}
	}},
	"claims what is not due": {"NotDue", func(b *brokenJobs, m *account.MemoryStore) {
		b.put = func(ctx context.Context, j account.Job) error {
			j.DueAt = j.DueAt.Truncate(time.Second)
			return m.PutJob(ctx, j)
		}
	}},
	"claims the newest": {"Order", func(b *brokenJobs, m *account.MemoryStore) {
		n := time.Duration(0)
		b.put = func(ctx context.Context, j account.Job) error {
			n++
			j.DueAt = j.DueAt.Add(-n * 10 * time.Second)
			return m.PutJob(ctx, j)
		}
	}},
	"claims what has expired": {"Expired", func(b *brokenJobs, m *account.MemoryStore) {
		b.put = func(ctx context.Context, j account.Job) error {
			j.ExpiresAt = j.ExpiresAt.Add(time.Hour)
			return m.PutJob(ctx, j)
		}
	}},
	"deletes for a worker that lost its claim": {"Fence", func(b *brokenJobs, m *account.MemoryStore) {
		b.remove = func(ctx context.Context, id string, attempts int) (bool, error) {
			ok, err := m.DeleteJob(ctx, id, attempts)
			if !ok && err == nil {
				return m.DeleteJob(ctx, id, attempts+1)
			}
			return ok, err
		}
	}},
	"postpones for a worker that lost its claim": {"Fence", func(b *brokenJobs, m *account.MemoryStore) {
		b.postpone = func(ctx context.Context, id string, attempts int, due time.Time) error {
			return errors.Join(m.PostponeJob(ctx, id, attempts, due), m.PostponeJob(ctx, id, attempts+1, due))
		}
	}},
	"replaces a job": {"TakenIDs", func(b *brokenJobs, m *account.MemoryStore) {
		b.put = func(ctx context.Context, j account.Job) error {
			_, err := m.DeleteJob(ctx, j.ID, 0)
			return errors.Join(err, m.PutJob(ctx, j))
		}
	}},
	"ignores case": {"Times", func(b *brokenJobs, m *account.MemoryStore) {
		b.times = func(ctx context.Context, key string) ([]time.Time, int64, error) {
			if key == "A" {
				key = "a"
			}
			return m.Times(ctx, key)
		}
	}},
	"fails for what cannot be stored": {"BrokenIDs", func(b *brokenJobs, m *account.MemoryStore) {
		b.times = func(ctx context.Context, key string) ([]time.Time, int64, error) {
			if key == "\xff" {
				return nil, 0, errors.New("invalid byte sequence")
			}
			return m.Times(ctx, key)
		}
	}},
	"shares times": {"SharesNoMemory", func(b *brokenJobs, m *account.MemoryStore) {
		var mu sync.Mutex
		shared := map[string][]time.Time{}
		b.times = func(ctx context.Context, key string) ([]time.Time, int64, error) {
			mu.Lock()
			defer mu.Unlock()
			times, version, err := m.Times(ctx, key)
			if shared[key] == nil {
				shared[key] = times
			}
			return shared[key], version, err
		}
	}},
	"ignores a context that is done": {"CancelledContext", func(b *brokenJobs, m *account.MemoryStore) {
		b.put = func(ctx context.Context, j account.Job) error { return m.PutJob(context.WithoutCancel(ctx), j) }
	}},
	"claims in two steps": {"Claimers", func(b *brokenJobs, m *account.MemoryStore) {
		var mu sync.Mutex
		last, next := account.Job{}, false
		b.claim = func(ctx context.Context, at, until time.Time) (account.Job, error) {
			mu.Lock()
			defer mu.Unlock()
			if next = !next; !next && last.ID != "" { // the job that another one is just claiming
				return last, nil
			}
			j, err := m.ClaimJob(ctx, at, until)
			last = j
			return j, err
		}
	}},
	"reports success to every deleter": {"Deleters", func(b *brokenJobs, m *account.MemoryStore) {
		b.remove = func(ctx context.Context, id string, attempts int) (bool, error) {
			_, err := m.DeleteJob(ctx, id, attempts)
			return true, err
		}
	}},
	"ignores the version": {"Times", func(b *brokenJobs, m *account.MemoryStore) {
		b.set = func(ctx context.Context, key string, times []time.Time, _ int64, expires time.Time) error {
			_, version, err := m.Times(ctx, key)
			return errors.Join(err, m.SetTimes(ctx, key, times, version, expires))
		}
	}},
	"tells a loser nothing": {"TimesRace", func(b *brokenJobs, m *account.MemoryStore) {
		b.set = func(ctx context.Context, key string, times []time.Time, version int64, expires time.Time) error {
			if err := m.SetTimes(ctx, key, times, version, expires); !errors.Is(err, account.ErrConflict) {
				return err
			}
			return nil
		}
	}},
	"keeps times for ever": {"TimesExpire", func(b *brokenJobs, m *account.MemoryStore) {
		b.set = func(ctx context.Context, key string, times []time.Time, version int64, _ time.Time) error {
			return m.SetTimes(ctx, key, times, version, time.Now().Add(1000*time.Hour).AddDate(100, 0, 0))
		}
	}},
	"takes no limit for none": {"Expired", func(b *brokenJobs, m *account.MemoryStore) {
		b.expire = func(ctx context.Context, at time.Time, limit int) (int, error) {
			if limit <= 0 {
				limit = 1000
			}
			return m.DeleteExpiredJobs(ctx, at, limit)
		}
	}},
}

// TestAccountSuiteFails runs the suite on every one of jobMutants, as
// TestSuiteFails does.
func TestAccountSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range jobMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestAccountSuiteFails", caught, func(name string) {
		storetest.TestAccountStore(t, func(*testing.T) account.Store {
			b := &brokenJobs{MemoryStore: account.NewMemoryStore()}
			jobMutants[name].breakIt(b, b.MemoryStore)
			return b
		})
	})
}
