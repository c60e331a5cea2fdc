// Package foreign implements an API key, a login by e-mail code and a one-time
// code as second factor with exported names of authkit only. It exists for its
// tests: they show that other modules can add credentials, logins and factors.
// Its stores are maps in memory.
package foreign
