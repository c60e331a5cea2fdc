package storetest

import (
	"math/big"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// A throttleModel implements the contract of a throttle.Store literally, with
// exact seconds since 1970. It never drops records.
type throttleModel struct {
	tat      map[throttle.Key]*big.Rat
	counters map[throttle.Key]*throttleCounter
	known    map[throttle.Key]*big.Rat
	cleared  map[throttle.Key]*big.Rat
}

type throttleCounter struct {
	n, open   int64
	at, since *big.Rat
	guess     uint16
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

// duration converts seconds to a whole number of nanoseconds. A negative number
// becomes 0.
func duration(r *big.Rat) time.Duration {
	ns := new(big.Rat).Mul(r, big.NewRat(int64(time.Second), 1))
	if !ns.IsInt() {
		panic("storetest: a wait that is no whole number of nanoseconds: " + ns.String())
	}
	return max(0, time.Duration(ns.Num().Int64()))
}

// counter returns the key of the counter of an attempt, and the counter as of
// the time of the attempt.
func (m *throttleModel) counter(t throttle.Reservation) (key throttle.Key, c throttleCounter) {
	now := moment(t.At)
	key = t.Counter
	if until := m.known[t.Source]; t.Source != (throttle.Key{}) && until != nil && until.Cmp(now) > 0 {
		key = t.Source
	}
	none := throttleCounter{at: new(big.Rat), since: new(big.Rat)}
	if m.counters[key] == nil {
		return key, none
	}
	c = *m.counters[key]
	if pardon := m.cleared[t.ClearedAt]; pardon != nil && c.at.Cmp(pardon) <= 0 {
		return key, none
	}
	if c.n < int64(t.Backoff.LockAfter) && sum(c.at, times(c.n, t.Backoff.DecayPerFailure)).Cmp(now) <= 0 {
		return key, none
	}
	if c.open > 0 && sum(c.at, seconds(t.Backoff.Open)).Cmp(now) <= 0 {
		c.open, c.since = 0, c.at
	}
	return key, c
}

// wait returns how long n failures refuse, if the latest was at the given time.
func (m *throttleModel) wait(t throttle.Reservation, n int64, at *big.Rat) time.Duration {
	switch {
	case n >= int64(t.Backoff.LockAfter):
		return t.Backoff.MaxDelay
	case n <= int64(t.Backoff.FreeFailures):
		return 0
	}
	wait := times(1<<(n-int64(t.Backoff.FreeFailures)-1), t.Backoff.InitialDelay)
	if wait.Cmp(seconds(t.Backoff.MaxDelay)) > 0 {
		wait = seconds(t.Backoff.MaxDelay)
	}
	return duration(difference(sum(at, wait), moment(t.At)))
}

func (m *throttleModel) take(t throttle.Reservation) throttle.Decision {
	now := moment(t.At)
	var v throttle.Decision
	for _, b := range t.Buckets {
		over := difference(sum(later(m.tat[b.Key], now), seconds(b.Every)), sum(now, times(int64(b.Burst), b.Every)))
		v.Bucket = max(v.Bucket, duration(over))
	}
	var key throttle.Key
	var c throttleCounter
	if t.Counter != (throttle.Key{}) {
		key, c = m.counter(t)
		v.Counter = m.wait(t, c.n, c.at)
		v.Open = v.Counter > 0 && m.wait(t, c.n-c.open, c.since) == 0
	}
	if v != (throttle.Decision{}) {
		return v
	}
	for _, b := range t.Buckets {
		m.tat[b.Key] = sum(later(m.tat[b.Key], now), seconds(b.Every))
	}
	if t.Counter != (throttle.Key{}) {
		c.n, c.open, c.at = c.n+1, c.open+1, later(c.at, now)
		m.counters[key] = &c
	}
	return v
}

func (m *throttleModel) settle(t throttle.Reservation, outcome authkit.AttemptOutcome) {
	for _, b := range t.Buckets {
		if tat := m.tat[b.Key]; tat != nil && outcome != authkit.AttemptFailed {
			m.tat[b.Key] = difference(tat, seconds(b.Every))
		}
	}
	if t.Counter == (throttle.Key{}) {
		return
	}
	key, c := m.counter(t)
	switch {
	case outcome == authkit.AttemptSucceeded:
		delete(m.counters, key)
		if t.Source != (throttle.Key{}) {
			m.known[t.Source] = sum(moment(t.At), seconds(t.Backoff.TrustFor))
			delete(m.counters, t.Source)
		}
	case c.n > 0:
		comparable := t.Guess != 0 && (t.Source == throttle.Key{} || key == t.Source)
		again := comparable && t.Guess == c.guess
		c.open = max(0, c.open-1)
		if outcome == authkit.AttemptFailed && !again {
			c.since = c.at
			if comparable {
				c.guess = t.Guess
			}
		} else {
			c.n--
			if c.open == 0 {
				c.at = c.since
			}
		}
		m.counters[key] = &c
	}
}

func (m *throttleModel) clear(t throttle.Reservation) {
	delete(m.counters, t.Counter)
	m.cleared[t.ClearedAt] = moment(t.At)
}
