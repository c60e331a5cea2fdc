package account

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

var (
	// ErrNoJob is returned by a [Store] that has no job to claim.
	ErrNoJob = errors.New("account: no job")

	// ErrConflict is returned by [Store].SetTimes if the version is another one
	// by now.
	ErrConflict = errors.New("account: the record was changed meanwhile")
)

// A Job is an entry of the outbox: a mail, or a request for one.
type Job struct {
	ID   string // random and unique
	Body []byte // encrypted, bound to the ID

	// Attempts is how often the job was claimed. A caller that has claimed the
	// job owns it until another caller claims it.
	Attempts int

	DueAt     time.Time // when it may be claimed
	ExpiresAt time.Time // when it is of no use any more
}

// A Store keeps the outbox of [Accounts]. [MemoryStore] is one, and package
// accountsql has another. An implementation of your own is correct if it passes
// storetest.TestAccountStore.
//
// The rules for an [authkit.UserStore] apply. If ctx carries a transaction of
// the accounts, a call joins it if the store can. Otherwise the call takes
// effect at once.
type Store interface {
	// PutJob stores a new job. An ID that is empty or exists is an error that
	// changes nothing.
	PutJob(ctx context.Context, j Job) error

	// ClaimJob returns a job that is due: its DueAt is not after at, and its
	// ExpiresAt is after at. Of these it returns the one with the smallest
	// DueAt, but may return another one while other callers claim jobs. In the
	// same step it sets DueAt to until and adds one to Attempts. Two callers
	// never get the same job. If there is no job, it returns ErrNoJob.
	ClaimJob(ctx context.Context, at, until time.Time) (Job, error)

	// PostponeJob sets the DueAt of a job, if its Attempts are those given.
	// Otherwise it changes nothing, without an error.
	PostponeJob(ctx context.Context, id string, attempts int, due time.Time) error

	// DeleteJob removes a job, if its Attempts are those given, and reports
	// whether it did.
	DeleteJob(ctx context.Context, id string, attempts int) (deleted bool, err error)

	// Times returns the times that were stored under a key, and their version.
	// If there are none, both are zero.
	Times(ctx context.Context, key string) (times []time.Time, version int64, err error)

	// SetTimes replaces the times under a key and adds one to their version. If
	// version is not that of the stored times, it returns ErrConflict and
	// changes nothing.
	SetTimes(ctx context.Context, key string, times []time.Time, version int64, expires time.Time) error

	// DeleteExpiredJobs removes jobs and times that do not expire after at. It
	// removes at most limit of each, or none if limit is not positive, and
	// returns the number removed.
	DeleteExpiredJobs(ctx context.Context, at time.Time, limit int) (deleted int, err error)
}

// A MemoryStore is a [Store] in memory, for tests and single programs that may
// lose the mails that wait. In a transaction of a Kit, its changes take effect
// when that is committed.
type MemoryStore struct {
	answer chan struct{} // full while a worker answers a request
	mu     sync.Mutex
	jobs   map[string]*memoryJob
	queue  memoryQueue // the same jobs
	times  map[string]memoryTimes
}

// A memoryJob is a job with its place in the queue.
type memoryJob struct {
	Job
	place int
}

// A memoryQueue is a heap of jobs, the one that is due first in front.
type memoryQueue []*memoryJob

func (q memoryQueue) Len() int           { return len(q) }
func (q memoryQueue) Less(i, j int) bool { return q[i].DueAt.Before(q[j].DueAt) }
func (q memoryQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements heap.Interface.
func (q *memoryQueue) Push(x any) {
	j := x.(*memoryJob)
	j.place = len(*q)
	*q = append(*q, j)
}

// Pop implements heap.Interface.
func (q *memoryQueue) Pop() any {
	last := len(*q) - 1
	j := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return j
}

type memoryTimes struct {
	times   []time.Time
	version int64
	expires time.Time
}

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{answer: make(chan struct{}, 1), jobs: map[string]*memoryJob{}, times: map[string]memoryTimes{}}
}

var _ Store = (*MemoryStore)(nil)

var errJobID = errors.New("account: the job ID is empty or exists")

// change calls f, which makes a change, with the lock held: now, or when the
// transaction of ctx is committed. The caller holds the lock.
func (m *MemoryStore) change(ctx context.Context, f func()) {
	inTx := authkit.AfterCommit(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		f()
	})
	if !inTx {
		f()
	}
}

// lock locks the store, unless ctx is done.
func (m *MemoryStore) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	return nil
}

// PutJob implements [Store].
func (m *MemoryStore) PutJob(ctx context.Context, j Job) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if _, exists := m.jobs[j.ID]; exists || j.ID == "" {
		return errJobID
	}
	j.Body = slices.Clone(j.Body)
	m.change(ctx, func() {
		m.jobs[j.ID] = &memoryJob{Job: j}
		heap.Push(&m.queue, m.jobs[j.ID])
	})
	return nil
}

// ClaimJob implements [Store].
func (m *MemoryStore) ClaimJob(ctx context.Context, at, until time.Time) (Job, error) {
	if err := m.lock(ctx); err != nil {
		return Job{}, err
	}
	defer m.mu.Unlock()
	var expired []*memoryJob // they stay until DeleteExpiredJobs
	defer func() {
		for _, j := range expired {
			heap.Push(&m.queue, j)
		}
	}()
	for len(m.queue) > 0 && !m.queue[0].DueAt.After(at) {
		j := m.queue[0]
		if !j.ExpiresAt.After(at) {
			expired = append(expired, heap.Pop(&m.queue).(*memoryJob))
			continue
		}
		j.DueAt, j.Attempts = until, j.Attempts+1
		heap.Fix(&m.queue, j.place)
		claimed := j.Job
		claimed.Body = slices.Clone(j.Body)
		return claimed, nil
	}
	return Job{}, ErrNoJob
}

// PostponeJob implements [Store].
func (m *MemoryStore) PostponeJob(ctx context.Context, id string, attempts int, due time.Time) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.change(ctx, func() {
		if j, ok := m.jobs[id]; ok && j.Attempts == attempts {
			j.DueAt = due
			heap.Fix(&m.queue, j.place)
		}
	})
	return nil
}

// DeleteJob implements [Store].
func (m *MemoryStore) DeleteJob(ctx context.Context, id string, attempts int) (bool, error) {
	if err := m.lock(ctx); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	j, ok := m.jobs[id]
	if !ok || j.Attempts != attempts {
		return false, nil
	}
	m.change(ctx, func() { m.remove(id) })
	return true, nil
}

// remove removes a job. The caller holds the lock.
func (m *MemoryStore) remove(id string) {
	if j := m.jobs[id]; j != nil {
		heap.Remove(&m.queue, j.place)
		delete(m.jobs, id)
	}
}

// Times implements [Store].
func (m *MemoryStore) Times(ctx context.Context, key string) ([]time.Time, int64, error) {
	if err := m.lock(ctx); err != nil {
		return nil, 0, err
	}
	defer m.mu.Unlock()
	t := m.times[key]
	return slices.Clone(t.times), t.version, nil
}

// SetTimes implements [Store].
func (m *MemoryStore) SetTimes(ctx context.Context, key string, times []time.Time, version int64, expires time.Time) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if m.times[key].version != version {
		return ErrConflict
	}
	times = slices.Clone(times)
	m.change(ctx, func() { m.times[key] = memoryTimes{times, version + 1, expires} })
	return nil
}

// DeleteExpiredJobs implements [Store].
func (m *MemoryStore) DeleteExpiredJobs(ctx context.Context, at time.Time, limit int) (deleted int, err error) {
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	jobs, times := limit, limit
	for id, j := range m.jobs {
		if !j.ExpiresAt.After(at) && jobs > 0 {
			m.remove(id)
			jobs--
			deleted++
		}
	}
	for key, t := range m.times {
		if !t.expires.After(at) && times > 0 {
			delete(m.times, key)
			times--
			deleted++
		}
	}
	return deleted, nil
}

// A timedStore gives every call a deadline. Its methods are written out, so
// that a method that is forgotten here does not compile (FR-11).
type timedStore struct {
	store   Store
	timeout time.Duration
}

func timedStoreOf(s Store, timeout time.Duration) Store {
	switch s := s.(type) {
	case nil:
		return NewMemoryStore()
	case *MemoryStore:
		return s
	}
	return timedStore{s, timeout}
}

func (s timedStore) PutJob(ctx context.Context, j Job) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.PutJob(ctx, j)
}

func (s timedStore) ClaimJob(ctx context.Context, at, until time.Time) (Job, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.ClaimJob(ctx, at, until)
}

func (s timedStore) PostponeJob(ctx context.Context, id string, attempts int, due time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.PostponeJob(ctx, id, attempts, due)
}

func (s timedStore) DeleteJob(ctx context.Context, id string, attempts int) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.DeleteJob(ctx, id, attempts)
}

func (s timedStore) Times(ctx context.Context, key string) ([]time.Time, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.Times(ctx, key)
}

func (s timedStore) SetTimes(ctx context.Context, key string, times []time.Time, version int64, expires time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.SetTimes(ctx, key, times, version, expires)
}

func (s timedStore) DeleteExpiredJobs(ctx context.Context, at time.Time, limit int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.DeleteExpiredJobs(ctx, at, limit)
}
