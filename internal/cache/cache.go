// Package cache stores a bounded number of values under long secret keys.
package cache

import (
	"crypto/sha256"
	"sync"
)

const maxShards = 16

// A Cache stores values under the SHA-256 of their keys. The keys are
// credentials, so they are not kept in memory. It is safe for concurrent use.
type Cache[V any] struct {
	shards   []shard[V]
	perShard int
}

type shard[V any] struct {
	sync.RWMutex
	values map[[sha256.Size]byte]V
}

// New returns a Cache of at most size values, which must be positive.
func New[V any](size int) *Cache[V] {
	n := min(size, maxShards)
	c := &Cache[V]{shards: make([]shard[V], n), perShard: size / n}
	for i := range c.shards {
		c.shards[i].values = make(map[[sha256.Size]byte]V)
	}
	return c
}

func digest(key string) [sha256.Size]byte {
	var stack [1024]byte // avoids an allocation for most keys
	return sha256.Sum256(append(stack[:0], key...))
}

// Get returns the value under key, if it is present.
func (c *Cache[V]) Get(key string) (V, bool) {
	d := digest(key)
	s := &c.shards[int(d[0])%len(c.shards)]
	s.RLock()
	defer s.RUnlock()
	v, ok := s.values[d]
	return v, ok
}

// Put stores a value. If the cache is full, it removes an arbitrary other one,
// so that an attacker who fills the cache cannot choose which.
func (c *Cache[V]) Put(key string, v V) {
	d := digest(key)
	s := &c.shards[int(d[0])%len(c.shards)]
	s.Lock()
	defer s.Unlock()
	if _, ok := s.values[d]; !ok && len(s.values) >= c.perShard {
		for old := range s.values {
			delete(s.values, old)
			break
		}
	}
	s.values[d] = v
}
