// Package integration holds the tests that talk to real databases: SQLite in a file, Postgres,
// MariaDB. It is a module of its own, so that no driver is in the go.mod of the library.
//
// The servers are looked for where AUTHKIT_TEST_POSTGRES and AUTHKIT_TEST_MARIADB say, and else
// on this machine, at their usual ports and without a password. One that is not there is
// skipped; with CI=true it fails.
package integration
