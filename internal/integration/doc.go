// Package integration tests authkit on real databases: SQLite in a file,
// Postgres and MariaDB. It is a separate module, so that no driver is in the
// go.mod of the library.
//
// AUTHKIT_TEST_POSTGRES and AUTHKIT_TEST_MARIADB are the addresses of the
// servers. By default the tests use servers on this machine, with the usual
// ports and no password. If a server is missing, its tests are skipped, or fail
// if CI=true.
package integration
