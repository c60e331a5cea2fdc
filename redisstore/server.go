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
	// Prefix begins the names of all keys: "{prefix}:s:…". Stores with different prefixes
	// have nothing in common; give each tenant its own. [Store] and a [Throttle] can have
	// the same. It is 1 to 64 letters, digits and any of "._:-"; empty means "authkit".
	Prefix string
}

// A server is where a store keeps what it has.
type server struct {
	client redis.UniversalClient
	prefix string // of all keys: with the hash tag
	info   *redis.Script
}

// newServer returns the server of a store, or an error that joins every fault of the
// client's options and of opts.
func newServer(client redis.UniversalClient, opts Options) (server, error) {
	prefix := cmp.Or(opts.Prefix, defaultPrefix)
	err := checkClient(client)
	if !regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`).MatchString(prefix) {
		err = errors.Join(err, errors.New(`redisstore: Options.Prefix: use 1 to 64 letters, digits and any of "._:-"`))
	}
	return server{client: client, prefix: "{" + prefix + "}:", info: redis.NewScript(luaInfo)}, err
}

// checkClient finds what a client must not do.
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
		errs = append(errs, errors.New("redisstore: the client reads from replicas, which are a moment behind; "+
			"give the store a client of its own, without ReadOnly, RouteByLatency and RouteRandomly"))
	}
	return errors.Join(errs...)
}

// run runs a script, unless the context has ended.
func (s *server) run(ctx context.Context, script *redis.Script, keys []string, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return script.Run(ctx, s.client, keys, args...).Result()
}
