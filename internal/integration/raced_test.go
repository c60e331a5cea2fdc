//go:build race

package integration_test

// raced reports whether the race detector is on. Tests that repeat one thing repeat it less often
// then, because the detector makes them slow. The step nested of .ci/run runs them in full.
const raced = true
