//go:build race

package integration_test

// raced says that the race detector is on. Tests of many rows have fewer then: it needs two calls
// at once, and finds no more in a thousand. CI runs them without it, too.
const raced = true
