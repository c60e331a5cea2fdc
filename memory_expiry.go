package authkit

import (
	"context"
	"sync"
	"time"
)

// deadlines orders keys by the times at which they are due. It is a binary heap
// in which each deadline has its index. It is safe for concurrent use.
type deadlines[K any] struct {
	mu   sync.Mutex
	heap []heapEntry[K]
}

type heapEntry[K any] struct {
	at time.Time // a copy next to the pointer, so that comparisons need no indirection
	d  *deadline[K]
}

type deadline[K any] struct {
	key   K
	index int // in the heap
}

// add adds a key that is due at a time.
func (h *deadlines[K]) add(key K, at time.Time) *deadline[K] {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := &deadline[K]{key: key, index: len(h.heap)}
	h.heap = append(h.heap, heapEntry[K]{at, d})
	h.up(d.index)
	return d
}

// remove removes a deadline that was added, once.
func (h *deadlines[K]) remove(d *deadline[K]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, last := d.index, len(h.heap)-1
	h.swap(i, last)
	h.heap[last] = heapEntry[K]{}
	h.heap = h.heap[:last]
	if i < last {
		h.fix(i)
	}
}

// move changes the time of a deadline.
func (h *deadlines[K]) move(d *deadline[K], at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heap[d.index].at = at
	h.fix(d.index)
}

// advance changes the time of a deadline to an earlier one. A later time has no
// effect.
func (h *deadlines[K]) advance(d *deadline[K], at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.Before(h.heap[d.index].at) {
		h.heap[d.index].at = at
		h.up(d.index)
	}
}

// first returns the earliest deadline, or nil.
func (h *deadlines[K]) first() (d *deadline[K], at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.heap) == 0 {
		return nil, time.Time{}
	}
	return h.heap[0].d, h.heap[0].at
}

func (h *deadlines[K]) swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].d.index, h.heap[j].d.index = i, j
}

// fix moves the entry at i to its place in the heap.
func (h *deadlines[K]) fix(i int) {
	h.up(i)
	h.down(i)
}

func (h *deadlines[K]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.heap[i].at.Before(h.heap[parent].at) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *deadlines[K]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.heap) {
			return
		}
		if next := child + 1; next < len(h.heap) && h.heap[next].at.Before(h.heap[child].at) {
			child = next
		}
		if !h.heap[child].at.Before(h.heap[i].at) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

// stepsPerHold is how many deadlines a clean-up processes before it releases
// the lock.
const stepsPerHold = 1000

// inSteps calls step, which deletes at most one record, until there are no
// more, or limit records are deleted. It regularly releases the lock for
// others. The context can stop it before the first step, but not later.
func (m *MemoryStore) inSteps(ctx context.Context, mu *sync.Mutex, limit int, step func(tx *memoryTx) (deleted, more bool)) (n int, err error) {
	first := ctx
	ctx = context.WithoutCancel(ctx)
	for more := true; more; first = ctx {
		h, err := m.hold(first, mu)
		if err != nil {
			return 0, err
		}
		for i := 0; i < stepsPerHold && more; i++ {
			var deleted bool
			if more = n < limit; more {
				deleted, more = step(h.tx)
			}
			if deleted {
				n++
			}
		}
		h.release()
	}
	return n, nil
}
