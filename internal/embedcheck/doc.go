// Package embedcheck has no code. Its test serves the root module as a release
// and requires it from a program outside the repository. The test checks the
// modules of the program, its build, and its guarded routes.
package embedcheck
