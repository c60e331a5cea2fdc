package authkit

import (
	"context"
	"hash/maphash"
	"sync"
)

// shards is a map in shards, each with its own lock. Its records are immutable:
// a change replaces them.
type shards[V any] struct {
	store *MemoryStore
	seed  maphash.Seed
	shard [256]shard[V]
}

type shard[V any] struct {
	sync.RWMutex
	records map[string]*V

	// before has the records that the running transaction has replaced, for
	// readers outside it. A nil record did not exist. The map is nil if there
	// are none.
	before map[string]*V

	_ [24]byte // padding to a cache line, so that neighbors do not share one
}

func newShards[V any](store *MemoryStore) *shards[V] {
	s := &shards[V]{store: store, seed: maphash.MakeSeed()}
	for i := range s.shard {
		s.shard[i].records = make(map[string]*V)
	}
	return s
}

func (s *shards[V]) of(key string) *shard[V] {
	return &s.shard[maphash.String(s.seed, key)%uint64(len(s.shard))]
}

// load returns the record that is visible with the context, or the error
// missing.
func (s *shards[V]) load(ctx context.Context, key string, missing error) (*V, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sh := s.of(key)
	sh.RLock()
	r := sh.records[key]
	old, replaced := sh.before[key]
	sh.RUnlock()
	if replaced && s.store.txOf(ctx) == nil {
		r = old
	}
	if r == nil {
		return nil, missing
	}
	return r, nil
}

// latest returns the record as last written, or nil. It is for writers.
func (s *shards[V]) latest(key string) *V {
	sh := s.of(key)
	sh.RLock()
	defer sh.RUnlock()
	return sh.records[key]
}

// set replaces a record, as a part of tx if that is not nil. A nil record is
// removed. The caller must hold the lock of the shard.
func (sh *shard[V]) set(key string, r *V, tx *memoryTx) {
	if tx != nil {
		if sh.before == nil {
			sh.before = make(map[string]*V)
			tx.touched = append(tx.touched, sh)
		}
		if _, replaced := sh.before[key]; !replaced {
			sh.before[key] = sh.records[key]
		}
	}
	if r == nil {
		delete(sh.records, key)
	} else {
		sh.records[key] = r
	}
}

// publish makes the current records visible to all readers. The caller must
// hold the lock of the shard.
func (sh *shard[V]) publish() { sh.before = nil }
