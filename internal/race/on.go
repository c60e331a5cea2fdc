//go:build race

package race

// Enabled is documented in off.go.
const Enabled = true
