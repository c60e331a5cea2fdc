package storetest_test

import (
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
)

// newStore stands for the constructor of the store that is to be tested.
func newStore(*testing.T) *authkit.MemoryStore { return authkit.NewMemoryStore() }

// The test of a store that keeps sessions. Each subtest gets an empty one: of a database,
// give each a schema or a file of its own, and drop it in t.Cleanup; of Redis, a prefix for
// its keys. In a test file, the function is called TestSessionStore.
func ExampleTestSessionStore() {
	testSessionStore := func(t *testing.T) {
		storetest.TestSessionStore(t, func(t *testing.T) authkit.SessionStore {
			return newStore(t)
		})
	}
	_ = testSessionStore
}
