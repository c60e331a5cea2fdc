// Package tally counts what many goroutines do at once, without their waiting for each other.
package tally

import (
	"math/rand/v2"
	"sync/atomic"
)

// cells is how many parts a count has: with fewer, processors take a cache line from each
// other at every request.
const cells = 16

// A Tally is a count. Its zero value is ready for use, and it must not be copied.
type Tally struct {
	cells [cells]struct {
		n atomic.Uint64
		_ [56]byte // a cache line each
	}
}

// Add adds one.
func (t *Tally) Add() { t.cells[rand.Uint32()%cells].n.Add(1) }

// Load returns the count. It never goes down from one call to the next.
func (t *Tally) Load() (sum uint64) {
	for i := range t.cells {
		sum += t.cells[i].n.Load()
	}
	return sum
}
