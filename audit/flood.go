package audit

import (
	"net/netip"
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
		authkit.EventSessionRenewed, authkit.EventRefreshFailure, authkit.EventStoreFailure:
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

// A tallyKey has the parts of an entry that equal events share.
type tallyKey struct {
	kind                    authkit.EventKind
	outcome                 string
	reason                  authkit.Reason
	route                   string
	actor, session, address string
	target                  string
}

func tallyKeyOf(e *Entry) tallyKey {
	address := e.Address
	if addr, err := netip.ParseAddr(address); err == nil && addr.Is6() && !addr.Is4In6() {
		prefix, _ := addr.WithZone("").Prefix(64) // cannot fail: there are as many bits
		address = prefix.String()
	}
	return tallyKey{e.Kind, e.Outcome, e.Reason, e.Route, e.ActorID, e.SessionID, address, e.TargetID}
}

// A tally counts equal events, from the first one on for tallyTime.
type tally struct {
	key   tallyKey
	ends  time.Time
	limit int // of the queue, for such events

	// The first event has an entry. While it is in the queue, it counts the others.
	queue uint64 // the queue that it is in, if that is the current one
	at    int    // its index there
	entry Entry  // of the events since; its Count is their number
}

// addEvent adds an event to the queue, if the queue has fewer than limit, or to the count of
// equal ones.
func (l *Log) addEvent(e Entry, limit int) {
	l.mu.Lock()
	l.endTallies(e.Time)
	key := tallyKeyOf(&e)
	switch t := l.tallies[key]; {
	case t == nil:
		if l.push(e, limit) && len(l.tallies) < l.limit {
			l.begin(&tally{key: key, limit: limit}, e.Time)
		}
	case t.queue == l.queue:
		first := &l.waiting[t.at]
		first.Count = max(first.Count, 1) + 1
	case t.entry.Count == 0:
		t.entry = e
		t.entry.Count = 1
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
	t.ends, t.queue, t.at = now.Add(tallyTime), l.queue, len(l.waiting)-1
	l.tallies[t.key] = t
	l.tallied = append(l.tallied, t)
}

// pushTally adds the entry of the events that a tally has counted to the queue.
func (l *Log) pushTally(t *tally) bool {
	e := t.entry
	t.entry = Entry{}
	l.counting--
	if e.Count == 1 {
		e.Count = 0
	}
	return l.push(e, t.limit)
}

// endTallies ends the tallies whose time is over. If there were events, another one begins.
func (l *Log) endTallies(now time.Time) {
	over := 0
	for over < len(l.tallied) && !now.Before(l.tallied[over].ends) {
		over++
	}
	ended := l.tallied[:over]
	l.tallied = l.tallied[over:]
	for _, t := range ended {
		delete(l.tallies, t.key)
		if t.entry.Count > 0 && l.pushTally(t) {
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
		if t.entry.Count > 0 {
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
	return time.After(max(0, time.Until(l.tallied[0].ends)))
}
