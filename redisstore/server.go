package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/redis/go-redis/v9"
)

const defaultPrefix = "authkit"

// Options are the options of a store.
type Options struct {
	// Prefix begins the names of all keys: "{prefix}:s:…". Stores with
	// different prefixes share no data, so give each tenant its own. A [Store]
	// and a [Throttle] can have the same prefix. It consists of 1 to 64
	// letters, digits and "._:-". If empty, it is "authkit".
	Prefix string
}

// A server is the Redis of a store.
type server struct {
	client redis.UniversalClient
	prefix string // of all keys, with the hash tag
	info   *redis.Script
}

// newServer returns the server of a store. The error joins every problem of the
// client's options and of opts.
func newServer(client redis.UniversalClient, opts Options) (server, error) {
	prefix := cmp.Or(opts.Prefix, defaultPrefix)
	err := checkClient(client)
	if !regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`).MatchString(prefix) {
		err = errors.Join(err, errors.New(`redisstore: Options.Prefix: use 1 to 64 letters, digits and any of "._:-"`))
	}
	return server{client: client, prefix: "{" + prefix + "}:", info: redis.NewScript(luaInfo)}, err
}

// checkClient returns an error for a client that a store cannot use.
func checkClient(client redis.UniversalClient) error {
	var deadlines, replicas bool
	switch c := client.(type) {
	case *redis.Client:
		if c == nil {
			return errors.New("redisstore: the client is nil")
		}
		deadlines = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		if c == nil {
			return errors.New("redisstore: the client is nil")
		}
		deadlines, replicas = c.Options().ContextTimeoutEnabled, c.Options().ReadOnly
	default:
		return fmt.Errorf("redisstore: the client is a %T; use a *redis.Client or a *redis.ClusterClient", client)
	}
	var errs []error
	if !deadlines {
		errs = append(errs, errors.New("redisstore: the client waits past the deadline of a context; set its option ContextTimeoutEnabled"))
	}
	if replicas {
		errs = append(errs, errors.New("redisstore: the client reads from replicas, which lag behind the master; "+
			"give the store a separate client without ReadOnly, RouteByLatency and RouteRandomly"))
	}
	return errors.Join(errs...)
}

// run runs a script. It returns the error of the context if that has ended.
func (s *server) run(ctx context.Context, script *redis.Script, keys []string, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return script.Run(ctx, s.client, keys, args...).Result()
}
