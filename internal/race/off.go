//go:build !race

// Package race tells tests whether they run under the race detector.
package race

// Enabled reports whether the race detector is on. With it, code is five to twenty
// times as slow, so a test with many equal rounds runs fewer of them. .ci/run runs
// each such test without it, too.
const Enabled = false
