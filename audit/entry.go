package audit

import (
	"bytes"
	"context"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

// The kinds of entries that a log writes of itself, beside those of [authkit.EventKind].
const (
	KindStarted authkit.EventKind = "audit_started" // Run began; without a KindStopped before it, the program was killed
	KindStopped authkit.EventKind = "audit_stopped" // Run ended in order
	KindLost    authkit.EventKind = "audit_lost"    // Count events were lost about here
	KindErased  authkit.EventKind = "audit_erased"  // Count parts of entries were erased; see [Log.Erase]
)

// The outcomes of entries.
const (
	Success = "success"
	Failure = "failure" // it was refused, or something broke: Reason says which
)

// An Entry is one line of the log: who did what to which account, from where, and how it
// ended. It holds no password, token, hash of one, or name that somebody typed, and no text
// of an error. Texts are UTF-8 that prints, of bounded length.
//
// Two parts of it are personal data: the client (ActorID to RequestID), and TargetID. They
// are in the chain by a salted hash alone, so that they can be erased; see [Entry.Erase].
type Entry struct {
	Seq     uint64            `json:"seq"`  // from 1, without gaps
	Time    time.Time         `json:"time"` // UTC, in microseconds
	Kind    authkit.EventKind `json:"kind"`
	Outcome string            `json:"outcome"`
	Reason  authkit.Reason    `json:"reason,omitempty"` // for operators; empty on success
	Route   string            `json:"route,omitempty"`  // of a denied request: the pattern
	Count   uint64            `json:"count,omitempty"`  // of KindLost and KindErased

	ActorID    string `json:"actor_id,omitempty"` // who acted; empty where nobody proved who they are
	SessionID  string `json:"session_id,omitempty"`
	Address    string `json:"address,omitempty"`
	Agent      string `json:"agent,omitempty"` // the User-Agent, at most 256 bytes
	RequestID  string `json:"request_id,omitempty"`
	ClientSalt []byte `json:"client_salt,omitempty"` // 16 bytes; empty once the client is erased
	ClientHash []byte `json:"client_hash"`           // SHA-256

	TargetID   string `json:"target_id,omitempty"`   // the account that it is about, if one is known
	TargetSalt []byte `json:"target_salt,omitempty"` // 16 bytes; empty once the target is erased
	TargetHash []byte `json:"target_hash"`           // SHA-256

	MAC []byte `json:"mac"` // HMAC-SHA-256 of all but the personal data, and of the MAC before
}

// Erase removes the personal data of a user: the target, if that is the user, and the
// client, if that is the user, or if nobody is known who it was and the user is the target.
// It returns how many of the two it removed. The chain stays whole.
func (e *Entry) Erase(userID string) (parts int) {
	if userID == "" {
		return 0
	}
	if len(e.ClientSalt) > 0 && (e.ActorID == userID || e.ActorID == "" && e.TargetID == userID) {
		e.ActorID, e.SessionID, e.Address, e.Agent, e.RequestID, e.ClientSalt = "", "", "", "", "", nil
		parts++
	}
	if len(e.TargetSalt) > 0 && e.TargetID == userID {
		e.TargetID, e.TargetSalt = "", nil
		parts++
	}
	return parts
}

// Head returns the head of a log that ends with the entry.
func (e *Entry) Head() Head {
	h := Head{Seq: e.Seq}
	copy(h.MAC[:], e.MAC)
	return h
}

// clone returns an entry that shares no memory.
func (e *Entry) clone() Entry {
	c := *e
	for _, b := range []*[]byte{&c.ClientSalt, &c.ClientHash, &c.TargetSalt, &c.TargetHash, &c.MAC} {
		*b = bytes.Clone(*b)
	}
	return c
}

// An actor is who can have caused a kind of event.
type actor int

const (
	caller actor = iota // whoever the request authenticated, if anybody
	self                // the user that it is about
	nobody              // who did it has proved nothing
)

// actorOf returns who acts in a kind of event, and whether the kind is one of authkit's.
func actorOf(kind authkit.EventKind) (a actor, known bool) {
	switch kind {
	case authkit.EventLoginSuccess, authkit.EventSessionRenewed, authkit.EventPasswordRehash, authkit.EventAccessDenied:
		return self, true
	case authkit.EventLoginFailure, authkit.EventLoginThrottled, authkit.EventRateLimited, authkit.EventRefreshFailure, authkit.EventTokenReuse, authkit.EventTokenRefused, authkit.EventStoreFailure:
		return nobody, true
	case authkit.EventLogout, authkit.EventPasswordChange, authkit.EventUserCreated, authkit.EventUserDisabled, authkit.EventUserDeleted:
		return caller, true
	}
	return caller, false
}

// floods reports whether anyone can cause any number of such events.
func floods(e authkit.Event) bool {
	return e.Kind == authkit.EventTokenRefused || e.Kind == authkit.EventRefreshFailure || e.Reason == authkit.ReasonOverloaded || e.Reason == authkit.ReasonThrottled
}

// newEntry returns the entry of an event, not yet in the chain.
func newEntry(ctx context.Context, ev authkit.Event) Entry {
	client := authkit.ClientFrom(ctx)
	e := Entry{
		Time: now(), Kind: authkit.EventKind(clean(string(ev.Kind), 64)), Outcome: Success,
		Reason: authkit.Reason(clean(string(ev.Reason), 64)), Route: clean(ev.Route, 256),
		SessionID: clean(ev.SessionID, 64), Address: client.Address, Agent: client.Device, RequestID: client.RequestID,
		TargetID: clean(ev.UserID, 255),
	}
	if ev.Reason != "" || ev.Err != nil {
		e.Outcome = Failure
	}
	switch a, _ := actorOf(ev.Kind); a {
	case self:
		e.ActorID = e.TargetID
	case caller:
		if p, ok := authkit.PrincipalFrom(ctx); ok {
			e.ActorID = clean(p.UserID, 255)
		}
	}
	return e
}

// now is the time as an entry keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// clean returns the front of a text as UTF-8, with a space for what does not print.
func clean(s string, limit int) string {
	plain := len(s) <= limit
	for i := 0; plain && i < len(s); i++ {
		plain = ' ' <= s[i] && s[i] <= '~'
	}
	if plain {
		return s
	}
	c := make([]byte, 0, min(len(s), limit))
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			r = ' '
		}
		if len(c)+utf8.RuneLen(r) > limit {
			break
		}
		c = utf8.AppendRune(c, r)
	}
	return string(c)
}
