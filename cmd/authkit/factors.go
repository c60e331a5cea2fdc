package main

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeysql"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/totp/totpsql"
	"github.com/authkit-go/authkit/trusteddevice"
	"github.com/authkit-go/authkit/trusteddevice/trusteddevicesql"
)

// A factorSet is the second factors in a database. A factor is nil if the
// database has no tables of it.
type factorSet struct {
	otp      *totp.Factor
	recovery *totp.RecoveryCodes
	store    *totpsql.Store
	passkeys *passkey.Factor
	devices  *trusteddevice.Devices
}

// factors returns the second factors of the service. The tool reads no secrets,
// so it needs no key for them.
func factors(ctx context.Context, db *sqlstore.DB) (set factorSet, err error) {
	pending, err := db.Pending(ctx, passkeysql.Migrations())
	if err != nil {
		return factorSet{}, err
	}
	var others []authkit.SecondFactor
	missing, err := db.Pending(ctx, trusteddevicesql.Migrations())
	if err == nil && len(missing) == 0 {
		set.devices, err = trusteddevice.New(trusteddevice.Config{Store: trusteddevicesql.New(db)})
	}
	if err != nil {
		return factorSet{}, err
	}
	if len(pending) == 0 {
		// The tool answers no browser, so that the names do not matter.
		set.passkeys, err = passkey.NewFactor(passkey.Config{
			RPID: "localhost", RPName: "authkit", Origins: []string{"http://localhost"}, Store: passkeysql.New(db),
		})
		if err != nil {
			return factorSet{}, err
		}
		others = append(others, set.passkeys)
	}
	pending, err = db.Pending(ctx, totpsql.Migrations())
	if err != nil || len(pending) > 0 {
		return set, err
	}
	set.store = totpsql.New(db)
	set.otp, err = totp.New(totp.Config{Issuer: "authkit", Keys: [][]byte{[]byte(rand.Text() + rand.Text())}, Store: set.store})
	if err != nil {
		return factorSet{}, err
	}
	set.recovery = set.otp.RecoveryCodes(others...)
	return set, nil
}

// none reports whether the database has no tables of second factors.
func (f factorSet) none() bool { return f.otp == nil && f.passkeys == nil }

// configure adds the factors to a configuration.
func (f factorSet) configure(cfg *authkit.Config) {
	if f.passkeys != nil {
		cfg.SecondFactors = append(cfg.SecondFactors, f.passkeys)
		cfg.UserData = append(cfg.UserData, f.passkeys)
	}
	if f.otp != nil {
		cfg.SecondFactors = append(cfg.SecondFactors, f.otp, f.recovery)
		cfg.UserData = append(cfg.UserData, f.otp, f.recovery)
	}
	if f.devices != nil && !f.none() {
		cfg.TrustedDevices = f.devices
	}
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
	if set.none() {
		return errNoFactors
	}
	t, err := c.table("method", "enrolled_at", "wrong_codes", "count")
	if err == nil && set.otp != nil {
		err = set.rows(ctx, t, u.ID)
	}
	if err == nil && set.passkeys != nil {
		var n int
		if n, err = set.passkeys.Count(ctx, u.ID); err == nil && n > 0 {
			err = t.row(passkey.Method, nil, nil, n)
		}
	}
	return err
}

// rows writes the authenticator app and the recovery codes of a user.
func (f factorSet) rows(ctx context.Context, t *table, userID string) error {
	r, err := f.store.Record(ctx, userID)
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
		if op.factors.none() {
			return errNoFactors
		}
		return op.kit.ResetFactors(ctx, u.ID)
	})
}
