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

// isHighVolume reports whether clients can cause events of a kind in any number
// without cost. Such events use at most half of the queue. The other kinds cost
// a hash or change data. known is false for a kind that package authkit does
// not have.
func isHighVolume(kind authkit.EventKind) (high, known bool) {
	switch kind {
	case authkit.EventLoginThrottled, authkit.EventRateLimited, authkit.EventTokenRefused, authkit.EventAccessDenied,
		authkit.EventSessionRenewed, authkit.EventRefreshFailure, authkit.EventStoreFailure, authkit.EventMailFailure,
		authkit.EventClientSuccess, authkit.EventClientFailure:
		return true, true
	case authkit.EventLoginSuccess, authkit.EventLoginFailure, authkit.EventLoginChallenge, authkit.EventTokenReuse, authkit.EventLogout,
		authkit.EventPasswordRehash, authkit.EventPasswordCheck, authkit.EventPasswordChange, authkit.EventUserCreated,
		authkit.EventUserUpdated, authkit.EventRolesChanged, authkit.EventUserLocked, authkit.EventUserUnlocked,
		authkit.EventUserDisabled, authkit.EventUserEnabled, authkit.EventUserDeleted,
		authkit.EventKeyCreated, authkit.EventKeyRotated, authkit.EventKeyRevoked,
		authkit.EventFactorAdded, authkit.EventFactorRemoved, authkit.EventFactorReset, authkit.EventFactorDisabled,
		authkit.EventRecoveryUsed, authkit.EventRecoveryRenewed,
		authkit.EventServiceCreated, authkit.EventServiceUpdated, authkit.EventServiceDeleted,
		authkit.EventOrgCreated, authkit.EventOrgDeleted, authkit.EventMemberInvited, authkit.EventInviteRevoked,
		authkit.EventMemberAdded, authkit.EventMemberChanged, authkit.EventMemberRemoved:
		return false, true
	}
	return true, false
}

// costsHash reports whether a failure with this reason required a hash, or can
// only follow one.
func costsHash(r authkit.Reason) bool {
	switch r {
	case authkit.ReasonUnknownUser, authkit.ReasonWrongPassword, authkit.ReasonNoPassword, authkit.ReasonUnreadableHash,
		authkit.ReasonDisabled, authkit.ReasonLocked, authkit.ReasonUnverified, authkit.ReasonWrongCode,
		authkit.ReasonFactorDisabled, authkit.ReasonMissingFactor:
		return true
	}
	return false
}

// usesHalfQueue reports whether an event may use only the half of the queue
// that any client can fill.
func usesHalfQueue(e authkit.Event) bool {
	high, _ := isHighVolume(e.Kind)
	attempt := e.Kind == authkit.EventLoginFailure || e.Kind == authkit.EventPasswordCheck
	return high || attempt && e.Reason != "" && !costsHash(e.Reason)
}

// tallyHash returns a hash of the parts that equal events share. A log compares
// only the hashes: with 64 bits under a random seed, collisions are too rare to
// matter.
func (l *Log) tallyHash(e *Entry) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, part := range [...]string{string(e.Kind), e.Outcome, string(e.Reason), e.Route, e.ActorID, e.SessionID, e.TargetID} {
		_, _ = h.WriteString(part) // never fails
		_ = h.WriteByte(0)
	}
	if strings.Contains(e.Address, ":") { // only IPv6 addresses need parsing
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
	limit int   // the part of the queue that such events may use

	// The first event has an entry. While it is in the queue, it counts the
	// others.
	queue uint64 // the queue of the first entry; it is still there if this is Log.queue
	at    int    // its index there
	entry *Entry // of later events, if any; its Count is their number
}

// addEvent adds an event to the queue if the queue has fewer than limit
// entries, or to the count of equal events.
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
		first := e // a copy, so that e stays on the stack in the other cases
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

// begin starts a tally whose first entry is the last of the queue.
func (l *Log) begin(t *tally, now time.Time) {
	t.ends, t.queue, t.at = now.Add(tallyTime).UnixMicro(), l.queue, len(l.waiting)-1
	l.tallies[t.hash] = t
	l.tallied = append(l.tallied, t)
}

// pushTally adds the events that a tally has counted to the queue, as one
// entry.
func (l *Log) pushTally(t *tally) bool {
	e := *t.entry
	t.entry = nil
	l.counting--
	if e.Count == 1 {
		e.Count = 0
	}
	return l.push(e, t.limit)
}

// endTallies ends the tallies whose time is over. A tally that has counted
// events starts again with their entry.
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

// pushTallies adds the counted events of all tallies to the queue.
func (l *Log) pushTallies() {
	for _, t := range l.tallied {
		if t.entry != nil {
			l.pushTally(t)
		}
	}
}

// tallying returns a channel that is ready when counted events may be due. It
// is nil if there are none.
func (l *Log) tallying() <-chan time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counting == 0 {
		return nil
	}
	return time.After(max(0, time.Until(time.UnixMicro(l.tallied[0].ends))))
}
