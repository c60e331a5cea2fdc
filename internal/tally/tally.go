// Package tally counts events of many goroutines without contention.
package tally

import (
	"math/rand/v2"
	"sync/atomic"
)

// cells is the number of parts of a count. With fewer, processors would contend
// for cache lines at every request.
const cells = 16

// A Tally is a count. Its zero value is ready for use, and it must not be copied.
type Tally struct {
	cells [cells]struct {
		n atomic.Uint64
		_ [56]byte // one cache line each
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
