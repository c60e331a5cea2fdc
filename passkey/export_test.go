package passkey

import (
	"sync/atomic"
	"time"
)

// Timed returns a store whose calls have a deadline, for tests.
func Timed(s Store, timeout time.Duration) Store {
	var limit atomic.Int64
	limit.Store(int64(timeout))
	return timedStore{s, &limit}
}
