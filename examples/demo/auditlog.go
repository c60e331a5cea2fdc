package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
)

// openAudit returns the security log: in the database if there is one, or else the newest ten
// thousand entries in memory.
//
// The key must not change while entries are kept. A program of your own keeps one beside the
// secret of the tokens. The demo derives it from that secret. If the secret is random, it ends
// with the process, and so does the log.
func openAudit(cfg config, store *storage) (*audit.Log, error) {
	key, err := hkdf.Key(sha256.New, cfg.secret, nil, "authkit demo audit log", 32)
	if err != nil {
		return nil, err
	}
	var entries audit.Store = audit.NewMemoryStore(0)
	if store.audit != nil && !cfg.randomSecret {
		entries = store.audit
	}
	return audit.New(entries, audit.Options{Key: key, Logger: cfg.log})
}

// each returns a listener that calls several listeners.
func each(listeners ...func(context.Context, authkit.Event)) func(context.Context, authkit.Event) {
	return func(ctx context.Context, e authkit.Event) {
		for _, listener := range listeners {
			listener(ctx, e)
		}
	}
}
