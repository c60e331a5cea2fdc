//go:build !race

// Package race reports whether the race detector is on.
package race

// Enabled reports whether the race detector is on. It makes code five to twenty times
// as slow, so tests with many equal rounds run fewer of them. .ci/run runs each such
// test without it, too.
const Enabled = false
