package storetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/totp"
)

func TestTOTPMemoryStore(t *testing.T) {
	storetest.TestTOTPStore(t, func(*testing.T) totp.Store { return totp.NewMemoryStore() })
}

// brokenFactors is a MemoryStore of package totp with some methods replaced.
type brokenFactors struct {
	*totp.MemoryStore
	mu      sync.Mutex
	record  func(ctx context.Context, id string) (totp.Record, error)
	pending func(ctx context.Context, id string, pending []byte, at time.Time) error
	confirm func(ctx context.Context, id string, pendingAt time.Time, secret []byte, step int64, at time.Time) (bool, error)
	attempt func(ctx context.Context, id string, limits totp.Limits) (totp.Record, error)
	accept  func(ctx context.Context, id string, enrolledAt time.Time, step int64) (bool, error)
	remove  func(ctx context.Context, id string) error
	set     func(ctx context.Context, id string, hashes [][32]byte, at time.Time) error
	use     func(ctx context.Context, id string, hash [32]byte) (bool, error)
	list    func(ctx context.Context, after string, limit int) ([]totp.Record, error)
	reseal  func(ctx context.Context, changes []totp.Resealing) (int, error)
}

func (b *brokenFactors) Record(ctx context.Context, id string) (totp.Record, error) {
	if b.record != nil {
		return b.record(ctx, id)
	}
	return b.MemoryStore.Record(ctx, id)
}

func (b *brokenFactors) SetPending(ctx context.Context, id string, pending []byte, at time.Time) error {
	if b.pending != nil {
		return b.pending(ctx, id, pending, at)
	}
	return b.MemoryStore.SetPending(ctx, id, pending, at)
}

func (b *brokenFactors) Confirm(ctx context.Context, id string, pendingAt time.Time, secret []byte, step int64, at time.Time) (bool, error) {
	if b.confirm != nil {
		return b.confirm(ctx, id, pendingAt, secret, step, at)
	}
	return b.MemoryStore.Confirm(ctx, id, pendingAt, secret, step, at)
}

func (b *brokenFactors) CountAttempt(ctx context.Context, id string, limits totp.Limits) (totp.Record, error) {
	if b.attempt != nil {
		return b.attempt(ctx, id, limits)
	}
	return b.MemoryStore.CountAttempt(ctx, id, limits)
}

func (b *brokenFactors) AcceptStep(ctx context.Context, id string, enrolledAt time.Time, step int64) (bool, error) {
	if b.accept != nil {
		return b.accept(ctx, id, enrolledAt, step)
	}
	return b.MemoryStore.AcceptStep(ctx, id, enrolledAt, step)
}

func (b *brokenFactors) DeleteFactor(ctx context.Context, id string) error {
	if b.remove != nil {
		return b.remove(ctx, id)
	}
	return b.MemoryStore.DeleteFactor(ctx, id)
}

func (b *brokenFactors) SetCodes(ctx context.Context, id string, hashes [][32]byte, at time.Time) error {
	if b.set != nil {
		return b.set(ctx, id, hashes, at)
	}
	return b.MemoryStore.SetCodes(ctx, id, hashes, at)
}

func (b *brokenFactors) UseCode(ctx context.Context, id string, hash [32]byte) (bool, error) {
	if b.use != nil {
		return b.use(ctx, id, hash)
	}
	return b.MemoryStore.UseCode(ctx, id, hash)
}

func (b *brokenFactors) Records(ctx context.Context, after string, limit int) ([]totp.Record, error) {
	if b.list != nil {
		return b.list(ctx, after, limit)
	}
	return b.MemoryStore.Records(ctx, after, limit)
}

func (b *brokenFactors) Reseal(ctx context.Context, changes []totp.Resealing) (int, error) {
	if b.reseal != nil {
		return b.reseal(ctx, changes)
	}
	return b.MemoryStore.Reseal(ctx, changes)
}

// factorMutants each break one promise of totp.Store.
var factorMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenFactors, m *totp.MemoryStore)
}{
	"has a record for everybody": {"Nothing", func(b *brokenFactors, m *totp.MemoryStore) {
		b.record = func(ctx context.Context, id string) (totp.Record, error) {
			r, err := m.Record(ctx, id)
			if r.EnrolledAt.IsZero() {
				r.EnrolledAt = time.Unix(0, 0)
			}
			return r, err
		}
	}},
	"cuts times to the second": {"Pending", func(b *brokenFactors, m *totp.MemoryStore) {
		b.pending = func(ctx context.Context, id string, pending []byte, at time.Time) error {
			return m.SetPending(ctx, id, pending, at.Truncate(time.Second))
		}
	}},
	"keeps the first pending secret": {"Pending", func(b *brokenFactors, m *totp.MemoryStore) {
		b.pending = func(ctx context.Context, id string, pending []byte, at time.Time) error {
			if r, _ := m.Record(ctx, id); len(r.Pending) > 0 {
				return nil
			}
			return m.SetPending(ctx, id, pending, at)
		}
	}},
	"confirms any pending secret": {"Confirm", func(b *brokenFactors, m *totp.MemoryStore) {
		b.confirm = func(ctx context.Context, id string, _ time.Time, secret []byte, step int64, at time.Time) (bool, error) {
			r, _ := m.Record(ctx, id)
			return m.Confirm(ctx, id, r.PendingAt, secret, step, at)
		}
	}},
	"keeps the pending secret after it is confirmed": {"Confirm", func(b *brokenFactors, m *totp.MemoryStore) {
		b.confirm = func(ctx context.Context, id string, pendingAt time.Time, secret []byte, step int64, at time.Time) (bool, error) {
			r, _ := m.Record(ctx, id)
			ok, err := m.Confirm(ctx, id, pendingAt, secret, step, at)
			if ok {
				err = m.SetPending(ctx, id, r.Pending, r.PendingAt)
			}
			return ok, err
		}
	}},
	"removes the factor when another one begins": {"Replace", func(b *brokenFactors, m *totp.MemoryStore) {
		b.pending = func(ctx context.Context, id string, pending []byte, at time.Time) error {
			if id == "ann" {
				_ = m.DeleteFactor(ctx, id)
			}
			return m.SetPending(ctx, id, pending, at)
		}
	}},
	"accepts a step of a factor that was replaced": {"Replace", func(b *brokenFactors, m *totp.MemoryStore) {
		b.accept = func(ctx context.Context, id string, _ time.Time, step int64) (bool, error) {
			r, _ := m.Record(ctx, id)
			return m.AcceptStep(ctx, id, r.EnrolledAt, step)
		}
	}},
	"has no limit in total": {"Attempts", func(b *brokenFactors, m *totp.MemoryStore) {
		b.attempt = func(ctx context.Context, id string, limits totp.Limits) (totp.Record, error) {
			limits.Total = 1000
			return m.CountAttempt(ctx, id, limits)
		}
	}},
	"has no limit of failures": {"AttemptRace", func(b *brokenFactors, m *totp.MemoryStore) {
		b.attempt = func(ctx context.Context, id string, limits totp.Limits) (totp.Record, error) {
			limits.Failures = 1000
			return m.CountAttempt(ctx, id, limits)
		}
	}},
	"returns the numbers before": {"Attempts", func(b *brokenFactors, m *totp.MemoryStore) {
		b.attempt = func(ctx context.Context, id string, limits totp.Limits) (totp.Record, error) {
			r, err := m.CountAttempt(ctx, id, limits)
			r.Failures--
			r.TotalFailures--
			return r, err
		}
	}},
	"returns numbers of others": {"AttemptRace", func(b *brokenFactors, m *totp.MemoryStore) {
		var wait sync.WaitGroup
		wait.Add(20)
		b.attempt = func(ctx context.Context, id string, limits totp.Limits) (totp.Record, error) {
			r, err := m.CountAttempt(ctx, id, limits)
			if err != nil || limits.Failures != 20 {
				return r, err
			}
			wait.Done()
			wait.Wait()
			return m.Record(ctx, id)
		}
	}},
	"accepts a step twice": {"Steps", func(b *brokenFactors, m *totp.MemoryStore) {
		b.accept = func(ctx context.Context, id string, enrolledAt time.Time, step int64) (bool, error) {
			ok, err := m.AcceptStep(ctx, id, enrolledAt, step)
			r, _ := m.Record(ctx, id)
			return ok || r.LastStep == step && len(r.Secret) > 0, err
		}
	}},
	"accepts in two steps": {"StepRace", func(b *brokenFactors, m *totp.MemoryStore) {
		b.accept = func(ctx context.Context, id string, enrolledAt time.Time, step int64) (bool, error) {
			_, err := m.AcceptStep(ctx, id, enrolledAt, step)
			return step > 10 && step < 14 && id == "ann", err
		}
	}},
	"deletes the codes with the factor": {"Delete", func(b *brokenFactors, m *totp.MemoryStore) {
		b.remove = func(ctx context.Context, id string) error {
			return errors.Join(m.DeleteFactor(ctx, id), m.SetCodes(ctx, id, nil, time.Time{}))
		}
	}},
	"keeps old codes": {"Codes", func(b *brokenFactors, m *totp.MemoryStore) {
		var all [][32]byte
		b.set = func(ctx context.Context, id string, hashes [][32]byte, at time.Time) error {
			if all = append(all, hashes...); len(hashes) == 0 {
				all = nil
			}
			return m.SetCodes(ctx, id, all, at)
		}
	}},
	"uses a code in two steps": {"CodeRace", func(b *brokenFactors, m *totp.MemoryStore) {
		b.use = func(ctx context.Context, id string, hash [32]byte) (bool, error) {
			_, err := m.UseCode(ctx, id, hash)
			return true, err
		}
	}},
	"ignores case": {"Users", func(b *brokenFactors, m *totp.MemoryStore) {
		b.record = func(ctx context.Context, id string) (totp.Record, error) {
			r, err := m.Record(ctx, strings.ToLower(id))
			r.UserID = id
			return r, err
		}
	}},
	"finds codes of others": {"Users", func(b *brokenFactors, m *totp.MemoryStore) {
		b.use = func(ctx context.Context, _ string, hash [32]byte) (bool, error) { return m.UseCode(ctx, "ann", hash) }
	}},
	"fails for what cannot be stored": {"BrokenIDs", func(b *brokenFactors, m *totp.MemoryStore) {
		b.record = func(ctx context.Context, id string) (totp.Record, error) {
			if id == "\xff" {
				return totp.Record{}, errors.New("invalid byte sequence")
			}
			return m.Record(ctx, id)
		}
	}},
	"shares secrets": {"SharesNoMemory", func(b *brokenFactors, m *totp.MemoryStore) {
		shared := map[string][]byte{}
		b.record = func(ctx context.Context, id string) (totp.Record, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			r, err := m.Record(ctx, id)
			if shared[id] == nil {
				shared[id] = r.Pending
			}
			r.Pending = shared[id]
			return r, err
		}
	}},
	"ignores a context that is done": {"CancelledContext", func(b *brokenFactors, m *totp.MemoryStore) {
		b.attempt = func(ctx context.Context, id string, limits totp.Limits) (totp.Record, error) {
			return m.CountAttempt(context.WithoutCancel(ctx), id, limits)
		}
	}},
	"lists without order": {"Records", func(b *brokenFactors, m *totp.MemoryStore) {
		b.list = func(ctx context.Context, after string, limit int) ([]totp.Record, error) {
			records, err := m.Records(ctx, after, limit)
			slices.Reverse(records)
			return records, err
		}
	}},
	"takes no limit for all": {"Records", func(b *brokenFactors, m *totp.MemoryStore) {
		b.list = func(ctx context.Context, after string, limit int) ([]totp.Record, error) {
			if limit <= 0 {
				limit = 1000
			}
			return m.Records(ctx, after, limit)
		}
	}},
	"reseals whatever is there": {"Reseal", func(b *brokenFactors, m *totp.MemoryStore) {
		b.reseal = func(ctx context.Context, changes []totp.Resealing) (int, error) {
			for i, c := range changes {
				r, _ := m.Record(ctx, c.UserID)
				changes[i].OldSecret, changes[i].OldPending = r.Secret, r.Pending
			}
			return m.Reseal(ctx, changes)
		}
	}},
	"reseals a secret that was replaced": {"ResealRace", func(b *brokenFactors, m *totp.MemoryStore) {
		b.confirm = func(ctx context.Context, id string, pendingAt time.Time, secret []byte, step int64, at time.Time) (bool, error) {
			r, _ := m.Record(ctx, id)
			ok, err := m.Confirm(ctx, id, pendingAt, secret, step, at)
			if ok && len(r.Secret) > 0 {
				_, err = m.Reseal(ctx, []totp.Resealing{{UserID: id, OldSecret: secret, NewSecret: r.Secret}})
			}
			return ok, err
		}
	}},
	"forgets failures when it reseals": {"Reseal", func(b *brokenFactors, m *totp.MemoryStore) {
		b.reseal = func(ctx context.Context, changes []totp.Resealing) (int, error) {
			n, err := m.Reseal(ctx, changes)
			if n > 0 {
				r, _ := m.Record(ctx, "ann")
				_, _ = m.AcceptStep(ctx, "ann", r.EnrolledAt, 11)
			}
			return n, err
		}
	}},
	"confirms in two steps": {"ConfirmRace", func(b *brokenFactors, m *totp.MemoryStore) {
		b.confirm = func(ctx context.Context, id string, pendingAt time.Time, secret []byte, step int64, at time.Time) (bool, error) {
			ok, err := m.Confirm(ctx, id, pendingAt, secret, step, at)
			return ok || len(secret) <= 4, err
		}
	}},
}

// TestTOTPSuiteFails runs the suite on every one of factorMutants, as
// TestSuiteFails does.
func TestTOTPSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range factorMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestTOTPSuiteFails", caught, func(name string) {
		storetest.TestTOTPStore(t, func(*testing.T) totp.Store {
			b := &brokenFactors{MemoryStore: totp.NewMemoryStore()}
			factorMutants[name].breakIt(b, b.MemoryStore)
			return b
		})
	})
}
