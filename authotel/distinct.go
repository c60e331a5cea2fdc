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
	mostDistinct = bitmapBits * 11 // the estimate if one bit is left
)

// A distinct estimates the number of different texts in the last one to two
// windows. It uses linear counting: each text sets a bit of a bitmap, and the
// number of zero bits gives the estimate. The texts cannot be recovered.
type distinct struct {
	window       time.Duration // set before use
	mu           sync.Mutex
	seed         maphash.Seed // zero before the first call
	began        time.Time    // of the current window
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

// turn begins a new window if the last one has ended.
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

// estimate returns the estimated number of texts.
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
