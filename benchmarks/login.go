package main

import (
	"context"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/benchmarks/internal/harness"
	"github.com/authkit-go/authkit/benchmarks/internal/peers"
	"golang.org/x/crypto/bcrypt"
)

const (
	loginEmail    = "grace@example.com"
	loginPassword = "correct horse battery staple"
)

// login measures a whole login, and the one hash that it must compute.
func login(name string, env env) (harness.Section, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(loginPassword), 12)
	if err != nil {
		return harness.Section{}, err
	}
	kit, err := kitWithLogin(env.keys, hash)
	if err != nil {
		return harness.Section{}, err
	}
	const bare = "bare bcrypt, cost 12"
	return measure(harness.Group{
		Name: name, Once: true,
		Work: "Look the user up, compare the password, issue the token. Bare bcrypt compares the password only.",
		Contenders: []harness.Contender{
			{Name: bare, Kind: peers.Floor, New: func() func() error {
				return func() error { return bcrypt.CompareHashAndPassword(hash, []byte(loginPassword)) }
			}},
			{Name: "authkit Login", Kind: peers.Ours, New: func() func() error {
				return func() error {
					_, err := kit.Login(context.Background(), loginEmail, loginPassword)
					return err
				}
			}},
		},
		Checks: []harness.Check{{Ours: "authkit Login", Against: bare, Max: 1.05}},
	}, env)
}

// kitWithLogin returns a kit with one more user, who has a password.
func kitWithLogin(keys peers.Keys, hash []byte) (*authkit.Kit, error) {
	kit, err := peers.NewKit(keys)
	if err != nil {
		return nil, err
	}
	return kit, kit.ImportUsers(context.Background(), []authkit.StoredUser{{
		User:         authkit.User{ID: authkit.NewUserID(), Email: loginEmail, FullName: "Grace"},
		PasswordHash: authkit.PasswordHash(hash),
	}})
}
