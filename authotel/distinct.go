package authotel

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"time"
)

const (
	bitmapBits   = 1 << 16
	bitmapWords  = bitmapBits / 64
	mostDistinct = bitmapBits * 11 // about what a bitmap can tell when one bit is left
)

// A distinct estimates how many different texts it was given in the last one to two windows,
// by linear counting: each sets a bit of a bitmap, and so many that are still zero tell how
// many there were. Which those were, it does not know.
type distinct struct {
	window       time.Duration // set before use
	mu           sync.Mutex
	seed         maphash.Seed // zero: none yet
	began        time.Time    // of the window that goes on
	current, old *[bitmapWords]uint64
}

// add counts a text, unless it is empty.
func (d *distinct) add(text string) {
	if text == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn()
	if d.current == nil {
		d.current = new([bitmapWords]uint64)
	}
	bit := maphash.String(d.seed, text) % bitmapBits
	d.current[bit/64] |= 1 << (bit % 64)
}

// turn begins a new window when the last one is over.
func (d *distinct) turn() {
	at := time.Now()
	if d.seed == (maphash.Seed{}) {
		d.seed, d.began = maphash.MakeSeed(), at
	}
	switch age := at.Sub(d.began); {
	case age >= 2*d.window:
		d.old, d.current, d.began = nil, nil, at
	case age >= d.window:
		d.old, d.current, d.began = d.current, nil, d.began.Add(d.window)
	}
}

// estimate returns about how many there were.
func (d *distinct) estimate() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn()
	set := 0
	for i := range bitmapWords {
		var word uint64
		if d.current != nil {
			word |= d.current[i]
		}
		if d.old != nil {
			word |= d.old[i]
		}
		set += bits.OnesCount64(word)
	}
	if set == bitmapBits {
		return mostDistinct
	}
	return int64(math.Round(bitmapBits * math.Log(float64(bitmapBits)/float64(bitmapBits-set))))
}
