package redisstore_test

import (
	"fmt"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/redisstore"
	"github.com/authkit-go/authkit/throttle"
)

// The sessions and tickets of a tenant are in Redis, and its accounts elsewhere. No connection is opened before
// the first login.
func Example() {
	options, err := redisstore.ParseURL("redis://127.0.0.1:6379/0")
	if err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()

	store, err := redisstore.New(client, redisstore.Options{Prefix: "tenant-1"})
	if err != nil {
		log.Fatal(err)
	}
	// At start-up: if err := store.Check(ctx); err != nil { … }

	_, err = authkit.New(authkit.Config{
		Secret:   []byte("a secret of 32 random bytes, or more"),
		Sessions: authkit.SessionConfig{Store: store},
		Tickets:  store,
	})
	fmt.Println(err)
	// Output: <nil>
}

// Several instances share limits. Each instance makes its own Throttle with the same secret, on one
// Redis. All of them refuse an account that one of them refuses.
func ExampleNewThrottle() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
	defer func() { _ = client.Close() }()
	store, err := redisstore.NewThrottle(client, redisstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	limits, err := throttle.New(throttle.Config{
		Store:  store,
		Secret: []byte("another secret of 32 random bytes, or more"),
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = authkit.New(authkit.Config{
		Secret:   []byte("a secret of 32 random bytes, or more"),
		Throttle: limits,
	})
	fmt.Println(err)
	// Output: <nil>
}

// The usual mistake: go-redis ignores the deadline of a context unless an option is set.
func ExampleNew_deadlines() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379"})
	defer func() { _ = client.Close() }()
	_, err := redisstore.New(client, redisstore.Options{})
	fmt.Println(err)
	// Output: redisstore: the client waits past the deadline of a context; set its option ContextTimeoutEnabled
}
