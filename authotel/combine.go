package authotel

import (
	"reflect"

	"github.com/authkit-go/authkit"
)

// around is embedded in every wrapped store.
type around struct{ store any }

// Unwrap returns the store, for the Doctor.
func (a around) Unwrap() any { return a.store }

// The contracts that a store can implement.
const (
	userStore = 1 << iota
	sessionStore
	sessionUserStore // only with the two above
	ticketStore
	inTx
)

// wrap returns a value that implements the same contracts as a store, with a
// span around each call. It returns equal values for one store, because a Kit
// calls SessionUser only if its Users and its sessions are one value.
func (t *Telemetry) wrap(store any) any {
	wrapped := t.combine(store)
	if reflect.ValueOf(store).Comparable() {
		return wrapped
	}
	// Comparing two values of wrapped would panic. Pointers can be compared.
	p := reflect.New(reflect.TypeOf(wrapped))
	p.Elem().Set(reflect.ValueOf(wrapped))
	return p.Interface()
}

// combine has a type for each combination of contracts. A single type would
// claim that every store implements all of them.
func (t *Telemetry) combine(store any) any {
	a := around{store}
	u, s, su, k, x := users{t: t}, sessions{t: t}, sessionUsers{t: t}, tickets{t: t}, transactor{t: t}
	implemented := 0
	var ok bool
	if u.store, ok = store.(authkit.UserStore); ok {
		implemented |= userStore
	}
	if s.store, ok = store.(authkit.SessionStore); ok {
		implemented |= sessionStore
	}
	if su.store, ok = store.(authkit.SessionUserStore); ok && u.store != nil && s.store != nil {
		implemented |= sessionUserStore
	}
	if k.store, ok = store.(authkit.TicketStore); ok {
		implemented |= ticketStore
	}
	if x.store, ok = store.(authkit.Transactor); ok {
		implemented |= inTx
	}
	switch implemented {
	case userStore:
		return struct {
			around
			users
		}{a, u}
	case userStore | inTx:
		return struct {
			around
			users
			transactor
		}{a, u, x}
	case userStore | ticketStore:
		return struct {
			around
			users
			tickets
		}{a, u, k}
	case userStore | ticketStore | inTx:
		return struct {
			around
			users
			tickets
			transactor
		}{a, u, k, x}
	case sessionStore:
		return struct {
			around
			sessions
		}{a, s}
	case sessionStore | inTx:
		return struct {
			around
			sessions
			transactor
		}{a, s, x}
	case sessionStore | ticketStore:
		return struct {
			around
			sessions
			tickets
		}{a, s, k}
	case sessionStore | ticketStore | inTx:
		return struct {
			around
			sessions
			tickets
			transactor
		}{a, s, k, x}
	case userStore | sessionStore:
		return struct {
			around
			users
			sessions
		}{a, u, s}
	case userStore | sessionStore | inTx:
		return struct {
			around
			users
			sessions
			transactor
		}{a, u, s, x}
	case userStore | sessionStore | ticketStore:
		return struct {
			around
			users
			sessions
			tickets
		}{a, u, s, k}
	case userStore | sessionStore | ticketStore | inTx:
		return struct {
			around
			users
			sessions
			tickets
			transactor
		}{a, u, s, k, x}
	case userStore | sessionStore | sessionUserStore:
		return struct {
			around
			users
			sessions
			sessionUsers
		}{a, u, s, su}
	case userStore | sessionStore | sessionUserStore | inTx:
		return struct {
			around
			users
			sessions
			sessionUsers
			transactor
		}{a, u, s, su, x}
	case userStore | sessionStore | sessionUserStore | ticketStore:
		return struct {
			around
			users
			sessions
			sessionUsers
			tickets
		}{a, u, s, su, k}
	case userStore | sessionStore | sessionUserStore | ticketStore | inTx:
		return struct {
			around
			users
			sessions
			sessionUsers
			tickets
			transactor
		}{a, u, s, su, k, x}
	case ticketStore:
		return struct {
			around
			tickets
		}{a, k}
	case ticketStore | inTx:
		return struct {
			around
			tickets
			transactor
		}{a, k, x}
	}
	return a // implements none of them; the callers have a contract
}
