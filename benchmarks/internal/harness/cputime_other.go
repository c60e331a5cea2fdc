//go:build !unix

package harness

import (
	"errors"
	"time"
)

func cpuTime() (time.Duration, error) {
	return 0, errors.New("processor time is not available here; run without -cpu")
}
