package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/redis/go-redis/v9"
)

// keepBeyond is how long Redis keeps an expired session or ticket that is not
// deleted earlier. It is far longer than the clocks of instances differ.
const keepBeyond = 24 * time.Hour

// A Store keeps sessions and tickets in Redis. It implements
// [authkit.SessionStore] and [authkit.TicketStore], so one Store can be the
// Sessions.Store and the Tickets of an [authkit.Config]. It is safe for
// concurrent use by any number of instances. Make one with [New].
type Store struct {
	server
	scripts scripts
}

// New returns the store with the prefix of opts. The error joins every problem
// of the client's options and of opts. New opens no connection.
//
// The client is a *redis.ClusterClient or a *redis.Client, which
// redis.NewClient and redis.NewFailoverClient return. Set its option
// ContextTimeoutEnabled. Do not set ReadOnly, RouteByLatency or RouteRandomly.
// New rejects a *redis.Ring: a server that leaves the ring and returns would
// bring back sessions that were ended. The caller closes the client.
func New(client redis.UniversalClient, opts Options) (*Store, error) {
	on, err := newServer(client, opts)
	if err != nil {
		return nil, err
	}
	return &Store{server: on, scripts: newScripts()}, nil
}

// ParseURL returns client options for an address such as redis://user:password@127.0.0.1:6379/0. It
// is redis.ParseURL, with the option that [New] asks for, and with an error that does not contain
// the address. ParseURL opens no connection.
func ParseURL(address string) (*redis.Options, error) {
	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, errors.New("redisstore: not an address like redis://user:password@127.0.0.1:6379/0")
	}
	options.ContextTimeoutEnabled = true
	return options, nil
}

// failed returns the error of a method. The not-found errors come from the
// replies of scripts. Every error of a server or a connection is a failure,
// redis.Nil included.
func failed(ctx context.Context, method string, err error) error {
	if err == nil || errors.Is(err, authkit.ErrSessionNotFound) || errors.Is(err, authkit.ErrTicketNotFound) {
		return err
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	return fmt.Errorf("redisstore: %s: %w", method, err)
}

// life returns how many milliseconds Redis keeps a record that expires at a time.
func life(now, expires time.Time) int64 {
	left := min(max(0, expires.Sub(now)), math.MaxInt64-keepBeyond)
	return (left + keepBeyond).Milliseconds()
}
