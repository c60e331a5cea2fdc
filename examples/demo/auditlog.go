package main

import (
	"context"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
)

// openAudit returns the security log. It is in the database if there is one.
// Otherwise the newest ten thousand entries are in memory.
//
// The key must not change while entries are kept. In your program, store it
// with the secret of the tokens. The demo derives it from that secret. If the
// secret is random, it is lost when the process ends, and so is the log.
func openAudit(cfg config, store *storage) (*audit.Log, error) {
	key, err := cfg.key("authkit demo audit log")
	if err != nil {
		return nil, err
	}
	var entries audit.Store = audit.NewMemoryStore(0)
	if store.audit != nil && !cfg.randomSecret {
		entries = store.audit
	}
	return audit.New(entries, audit.Options{Key: key, Logger: cfg.log})
}

// fanOut returns a listener that calls several listeners.
func fanOut(listeners ...func(context.Context, authkit.Event)) func(context.Context, authkit.Event) {
	return func(ctx context.Context, e authkit.Event) {
		for _, listener := range listeners {
			listener(ctx, e)
		}
	}
}
