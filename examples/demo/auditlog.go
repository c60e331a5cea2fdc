package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
)

// openAudit returns the security log: in the database, if there is one, and otherwise in
// memory, the newest ten thousand entries.
//
// Its key has to stay the same for as long as its entries are kept. A program of your own
// keeps one beside the secret of the tokens; the demo derives it from that. So where the secret
// is a random one, that dies with the process, the log does too.
func openAudit(cfg config, store *storage) (*audit.Log, error) {
	key, err := hkdf.Key(sha256.New, cfg.secret, nil, "authkit demo audit log", 32)
	if err != nil {
		return nil, err
	}
	var entries audit.Store = audit.NewMemoryStore(0)
	if sql, ok := store.users.(audit.Store); ok && !cfg.randomSecret {
		entries = sql
	}
	return audit.New(entries, audit.Options{Key: key, Logger: cfg.log})
}

// each returns a listener that tells several of them.
func each(listeners ...func(context.Context, authkit.Event)) func(context.Context, authkit.Event) {
	return func(ctx context.Context, e authkit.Event) {
		for _, tell := range listeners {
			tell(ctx, e)
		}
	}
}
