package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/authkit-go/authkit/contract"
	"golang.org/x/crypto/bcrypt"
)

// secret is the key of the tokens of every program.
const secret = "6b1f0c93a7d24e58b0e1f7439ac2d8e5"

// Users are the accounts of a program whose library has none: a map, with hashes
// of bcrypt.
type users struct {
	mu     sync.RWMutex
	byName map[string]user
	hashed atomic.Int64
}

type user struct {
	Name, Role string
	hash       []byte
	disabled   bool
}

func newUsers() *users { return &users{byName: map[string]user{}} }

// add creates an account.
func (u *users) add(name, password, role string) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.byName[name] = user{Name: name, Role: role, hash: hash}
	return nil
}

func (u *users) find(name string) (user, bool) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	found, ok := u.byName[name]
	return found, ok && !found.disabled
}

// check returns the account with a name and a password.
func (u *users) check(name, password string) (user, bool) {
	found, ok := u.find(name)
	if !ok {
		return user{}, false
	}
	u.hashed.Add(1)
	return found, bcrypt.CompareHashAndPassword(found.hash, []byte(password)) == nil
}

func (u *users) disable(name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	found, ok := u.byName[name]
	if !ok {
		return errors.New("no such account")
	}
	found.disabled = true
	u.byName[name] = found
	return nil
}

// fill sets the fields of a target that have to do with its accounts.
func (u *users) fill(target *contract.Target) error {
	for _, a := range []struct {
		account *contract.Account
		role    string
	}{{&target.User, "user"}, {&target.Other, "user"}, {&target.Admin, "admin"}} {
		if err := u.add(a.account.Name, a.account.Password, a.role); err != nil {
			return err
		}
	}
	created := 0
	target.NewAccount = func(_ context.Context, password string) (contract.Account, error) {
		created++
		a := contract.Account{Name: fmt.Sprintf("new-%d@example.com", created), Password: password}
		return a, u.add(a.Name, a.Password, "user")
	}
	target.Disable = func(_ context.Context, a contract.Account) error { return u.disable(a.Name) }
	target.Hashes = func() int { return int(u.hashed.Load()) }
	return nil
}

// newTarget returns the part of a target that every program has.
func newTarget() contract.Target {
	return contract.Target{
		User:  contract.Account{Name: "user@example.com", Password: "the passphrase of a user"},
		Other: contract.Account{Name: "other@example.com", Password: "the passphrase of another"},
		Admin: contract.Account{Name: "admin@example.com", Password: "the passphrase of an admin"},
		Routes: []contract.Route{
			{Method: "GET", Path: "/hello", Access: contract.LoggedIn},
			{Method: "GET", Path: "/admin", Access: contract.AdminOnly},
		},
		Secret: []byte(secret),
	}
}
