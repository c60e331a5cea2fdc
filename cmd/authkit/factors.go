package main

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/totp/totpsql"
)

// A factorSet is the second factors in a database.
type factorSet struct {
	otp      *totp.Factor // nil: the database has no tables of them
	recovery *totp.RecoveryCodes
	store    *totpsql.Store
}

// factors returns the second factors of the service. The tool reads no secrets,
// so it needs no key for them.
func factors(ctx context.Context, db *sqlstore.DB) (factorSet, error) {
	pending, err := db.Pending(ctx, totpsql.Migrations())
	if err != nil || len(pending) > 0 {
		return factorSet{}, err
	}
	set := factorSet{store: totpsql.New(db)}
	set.otp, err = totp.New(totp.Config{Issuer: "authkit", Keys: [][]byte{[]byte(rand.Text() + rand.Text())}, Store: set.store})
	if err != nil {
		return factorSet{}, err
	}
	set.recovery = set.otp.RecoveryCodes()
	return set, nil
}

// configure adds the factors to a configuration.
func (f factorSet) configure(cfg *authkit.Config) {
	if f.otp == nil {
		return
	}
	cfg.SecondFactors = append(cfg.SecondFactors, f.otp, f.recovery)
	cfg.UserData = append(cfg.UserData, f.otp, f.recovery)
}

var errNoFactors = errors.New("the database has no tables of second factors; if the service uses them, run: authkit migrate")

func listFactors(ctx context.Context, c *call) error {
	c.databaseFlags()
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	u, err := findUser(ctx, store, args[0])
	if err != nil {
		return err
	}
	set, err := factors(ctx, store)
	if err != nil {
		return err
	}
	if set.otp == nil {
		return errNoFactors
	}
	r, err := set.store.Record(ctx, u.ID)
	if err != nil {
		return err
	}
	t, err := c.table("method", "enrolled_at", "wrong_codes", "codes_left")
	if err == nil && len(r.Secret) > 0 {
		err = t.row(totp.Method, r.EnrolledAt, r.TotalFailures, nil)
	}
	if err == nil && r.CodesLeft > 0 {
		err = t.row(authkit.MethodRecovery, nil, nil, r.CodesLeft)
	}
	return err
}

func resetFactors(ctx context.Context, c *call) error {
	return changeUser(ctx, c, 1, 1, func(ctx context.Context, op *operation, u authkit.User, _ []string) error {
		if op.factors.otp == nil {
			return errNoFactors
		}
		return op.kit.ResetFactors(ctx, u.ID)
	})
}
