package peers

import "sync"

// accounts is the user table of a hand-written guard: a map with a lock.
type accounts struct {
	mu   sync.RWMutex
	byID map[string]account
}

type account struct {
	ID, Email, FullName string
	Roles               []string
	Disabled            bool
}

func newAccounts() *accounts {
	return &accounts{byID: map[string]account{
		Subject:  {ID: Subject, Email: "ada@example.com", FullName: "Ada", Roles: []string{Role, "user"}},
		Stranger: {ID: Stranger, Email: "bob@example.com", FullName: "Bob", Roles: []string{"user"}},
	}}
}

// check returns a verification that also finds the account, refuses a disabled
// one, and uses its roles.
func (a *accounts) check(verify func(string) (Identity, error)) func(string) (Identity, error) {
	return func(token string) (Identity, error) {
		id, err := verify(token)
		if err != nil {
			return Identity{}, err
		}
		a.mu.RLock()
		user, ok := a.byID[id.Subject]
		a.mu.RUnlock()
		if !ok || user.Disabled {
			return Identity{}, errInvalid
		}
		return Identity{Subject: user.ID, Roles: user.Roles}, nil
	}
}
