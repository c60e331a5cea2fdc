// Package embedcheck holds no code: its test does what a user does. It serves the root module as a
// release, requires it from a program outside the repository, and sees what the program pulls in,
// that it builds, and that its guarded routes are guarded.
package embedcheck
