package throttle_test

import (
	"testing"

	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/throttle"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.TestThrottleStore(t, func(*testing.T) throttle.Store { return throttle.NewMemory(0) })
}
