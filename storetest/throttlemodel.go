package storetest

import (
	"math/big"
	"time"

	"github.com/authkit-go/authkit/throttle"
)

// A throttleModel is the contract of a throttle.Store word for word, in seconds of any size and
// precision since 1970. It forgets nothing that it was not told to.
type throttleModel struct {
	tat      map[throttle.Key]*big.Rat
	counters map[throttle.Key]*throttleCounter
	known    map[throttle.Key]*big.Rat
	pardons  map[throttle.Key]*big.Rat
}

type throttleCounter struct {
	n  int64
	at *big.Rat
}

func newThrottleModel() *throttleModel {
	return &throttleModel{
		map[throttle.Key]*big.Rat{}, map[throttle.Key]*throttleCounter{},
		map[throttle.Key]*big.Rat{}, map[throttle.Key]*big.Rat{},
	}
}

func seconds(d time.Duration) *big.Rat { return big.NewRat(int64(d), int64(time.Second)) }

func moment(t time.Time) *big.Rat {
	return new(big.Rat).Add(big.NewRat(t.Unix(), 1), seconds(time.Duration(t.Nanosecond())))
}

func sum(a, b *big.Rat) *big.Rat              { return new(big.Rat).Add(a, b) }
func difference(a, b *big.Rat) *big.Rat       { return new(big.Rat).Sub(a, b) }
func times(n int64, d time.Duration) *big.Rat { return new(big.Rat).Mul(big.NewRat(n, 1), seconds(d)) }

func later(a, b *big.Rat) *big.Rat {
	if a == nil || a.Cmp(b) < 0 {
		return b
	}
	return a
}

// duration is what must be a whole number of nanoseconds, and none if it is negative.
func duration(r *big.Rat) time.Duration {
	ns := new(big.Rat).Mul(r, big.NewRat(int64(time.Second), 1))
	if !ns.IsInt() {
		panic("storetest: a wait that is no whole number of nanoseconds: " + ns.String())
	}
	return max(0, time.Duration(ns.Num().Int64()))
}

// counter returns the key of the counter that counts, and its failures that do.
func (m *throttleModel) counter(t throttle.Take) (key throttle.Key, n int64) {
	now := moment(t.At)
	key = t.Counter
	if until := m.known[t.Source]; t.Source != (throttle.Key{}) && until != nil && until.Cmp(now) > 0 {
		key = t.Source
	}
	c := m.counters[key]
	if c == nil {
		return key, 0
	}
	if pardon := m.pardons[t.Pardon]; pardon != nil && c.at.Cmp(pardon) <= 0 {
		return key, 0
	}
	if c.n < int64(t.Curve.Disable) && sum(c.at, times(c.n, t.Curve.Forget)).Cmp(now) <= 0 {
		return key, 0
	}
	return key, c.n
}

func (m *throttleModel) take(t throttle.Take) throttle.Verdict {
	now := moment(t.At)
	var v throttle.Verdict
	for _, b := range t.Buckets {
		over := difference(sum(later(m.tat[b.Key], now), seconds(b.Every)), sum(now, times(int64(b.Burst), b.Every)))
		v.Bucket = max(v.Bucket, duration(over))
	}
	var key throttle.Key
	var n int64
	if t.Counter != (throttle.Key{}) {
		switch key, n = m.counter(t); {
		case n >= int64(t.Curve.Disable):
			v.Counter = t.Curve.Most
		case n > int64(t.Curve.Free):
			wait := times(1<<(n-int64(t.Curve.Free)-1), t.Curve.First)
			if wait.Cmp(seconds(t.Curve.Most)) > 0 {
				wait = seconds(t.Curve.Most)
			}
			v.Counter = duration(difference(sum(m.counters[key].at, wait), now))
		}
	}
	if v != (throttle.Verdict{}) {
		return v
	}
	for _, b := range t.Buckets {
		m.tat[b.Key] = sum(later(m.tat[b.Key], now), seconds(b.Every))
	}
	if t.Counter != (throttle.Key{}) {
		at := now
		if c := m.counters[key]; c != nil {
			at = later(c.at, now)
		}
		m.counters[key] = &throttleCounter{n + 1, at}
	}
	return v
}

func (m *throttleModel) settle(t throttle.Take, succeeded bool) {
	for _, b := range t.Buckets {
		if tat := m.tat[b.Key]; tat != nil {
			m.tat[b.Key] = difference(tat, seconds(b.Every))
		}
	}
	if t.Counter == (throttle.Key{}) {
		return
	}
	key, n := m.counter(t)
	switch {
	case succeeded:
		delete(m.counters, key)
	case n > 0:
		m.counters[key].n = n - 1
	}
	if succeeded && t.Source != (throttle.Key{}) {
		m.known[t.Source] = sum(moment(t.At), seconds(t.Curve.Known))
		if key != t.Source {
			delete(m.counters, t.Source)
		}
	}
}

func (m *throttleModel) clear(t throttle.Take) {
	delete(m.counters, t.Counter)
	m.pardons[t.Pardon] = moment(t.At)
}
