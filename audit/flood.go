package audit

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// tallyTime is the time within which equal events become one entry.
const tallyTime = time.Second

// isHighVolume reports whether clients can cause events of a kind in any number, at no cost.
// Such events use at most half of the queue. The other kinds cost a hash or change
// something. It reports false for a kind that package authkit does not have.
func isHighVolume(kind authkit.EventKind) (high, known bool) {
	switch kind {
	case authkit.EventLoginThrottled, authkit.EventRateLimited, authkit.EventTokenRefused, authkit.EventAccessDenied,
		authkit.EventSessionRenewed, authkit.EventRefreshFailure, authkit.EventStoreFailure, authkit.EventMailFailure:
		return true, true
	case authkit.EventLoginSuccess, authkit.EventLoginFailure, authkit.EventLoginChallenge, authkit.EventTokenReuse, authkit.EventLogout,
		authkit.EventPasswordRehash, authkit.EventPasswordCheck, authkit.EventPasswordChange, authkit.EventUserCreated,
		authkit.EventUserUpdated, authkit.EventRolesChanged, authkit.EventUserLocked, authkit.EventUserUnlocked,
		authkit.EventUserDisabled, authkit.EventUserEnabled, authkit.EventUserDeleted:
		return false, true
	}
	return true, false
}

// costsHash reports whether a failure with a reason has cost a hash, or one of the few
// responses that follow one.
func costsHash(r authkit.Reason) bool {
	switch r {
	case authkit.ReasonUnknownUser, authkit.ReasonWrongPassword, authkit.ReasonNoPassword, authkit.ReasonUnreadableHash,
		authkit.ReasonDisabled, authkit.ReasonLocked, authkit.ReasonUnverified, authkit.ReasonWrongCode:
		return true
	}
	return false
}

// floods reports whether an event uses the half of the queue that any client can fill.
func floods(e authkit.Event) bool {
	high, _ := isHighVolume(e.Kind)
	attempt := e.Kind == authkit.EventLoginFailure || e.Kind == authkit.EventPasswordCheck
	return high || attempt && e.Reason != "" && !costsHash(e.Reason)
}

// tallyHash returns a hash of the parts of an entry that equal events share. A log compares no
// more than this: with 64 bits under a random seed, unequal events with one hash are too rare
// to matter.
func (l *Log) tallyHash(e *Entry) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, part := range [...]string{string(e.Kind), e.Outcome, string(e.Reason), e.Route, e.ActorID, e.SessionID, e.TargetID} {
		_, _ = h.WriteString(part) // never fails
		_ = h.WriteByte(0)
	}
	if strings.Contains(e.Address, ":") { // the only ones that are worth a parse
		if addr, err := netip.ParseAddr(e.Address); err == nil && !addr.Is4In6() {
			network := addr.As16()
			_, _ = h.Write(network[:8])
			return h.Sum64()
		}
	}
	_, _ = h.WriteString(e.Address)
	return h.Sum64()
}

// A tally counts equal events, from the first one on for tallyTime.
type tally struct {
	hash  uint64
	ends  int64 // in microseconds since 1970
	limit int   // of the queue, for such events

	// The first event has an entry. While it is in the queue, it counts the others.
	queue uint64 // the queue that it is in, if that is the current one
	at    int    // its index there
	entry *Entry // of the events since, if there are any; its Count is their number
}

// addEvent adds an event to the queue, if the queue has fewer than limit, or to the count of
// equal ones.
func (l *Log) addEvent(e Entry, limit int) {
	l.mu.Lock()
	l.endTallies(e.Time)
	hash := l.tallyHash(&e)
	switch t := l.tallies[hash]; {
	case t == nil:
		if l.push(e, limit) && len(l.tallies) < l.limit {
			l.begin(&tally{hash: hash, limit: limit}, e.Time)
		}
	case t.queue == l.queue:
		first := &l.waiting[t.at]
		first.Count = max(first.Count, 1) + 1
	case t.entry == nil:
		first := e // so that other events are not moved to the heap
		first.Count = 1
		t.entry = &first
		l.counting++
	default:
		t.entry.Count++
	}
	l.mu.Unlock()
	l.wakeUp()
}

// push adds an entry to the queue, or counts its events as lost.
func (l *Log) push(e Entry, limit int) bool {
	if len(l.waiting) >= limit {
		l.lost += max(e.Count, 1)
		l.stats.Lost += max(e.Count, 1)
		return false
	}
	l.waiting = append(l.waiting, e)
	return true
}

// begin begins the time of a tally, whose first entry is the last one of the queue.
func (l *Log) begin(t *tally, now time.Time) {
	t.ends, t.queue, t.at = now.Add(tallyTime).UnixMicro(), l.queue, len(l.waiting)-1
	l.tallies[t.hash] = t
	l.tallied = append(l.tallied, t)
}

// pushTally adds the entry of the events that a tally has counted to the queue.
func (l *Log) pushTally(t *tally) bool {
	e := *t.entry
	t.entry = nil
	l.counting--
	if e.Count == 1 {
		e.Count = 0
	}
	return l.push(e, t.limit)
}

// endTallies ends the tallies whose time is over. If there were events, another one begins.
func (l *Log) endTallies(now time.Time) {
	over := 0
	for over < len(l.tallied) && l.tallied[over].ends <= now.UnixMicro() {
		over++
	}
	ended := l.tallied[:over]
	l.tallied = l.tallied[over:]
	for _, t := range ended {
		delete(l.tallies, t.hash)
		if t.entry != nil && l.pushTally(t) {
			l.begin(t, now)
		}
	}
	if len(l.tallied) == 0 {
		l.tallied = nil
	}
}

// pushTallies adds the entries of all events that were counted to the queue.
func (l *Log) pushTallies() {
	for _, t := range l.tallied {
		if t.entry != nil {
			l.pushTally(t)
		}
	}
}

// tallying returns a channel that is ready when counted events may be due, or nil.
func (l *Log) tallying() <-chan time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counting == 0 {
		return nil
	}
	return time.After(max(0, time.Until(time.UnixMicro(l.tallied[0].ends))))
}
