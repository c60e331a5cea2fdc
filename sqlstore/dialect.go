package sqlstore

import (
	"strconv"
	"strings"
)

// A Dialect is the SQL of a database. Its zero value is none.
type Dialect int

// The dialects.
const (
	SQLite   Dialect = iota + 1 // 3.35 or later
	Postgres                    // 12 or later
	MySQL                       // 8 or later, and MariaDB 10.6 or later
)

// String returns the name of the database, which is also the name of its folder
// below the folder migrations of [Migrations].Files.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "sqlite"
	case Postgres:
		return "postgres"
	case MySQL:
		return "mysql"
	}
	return "Dialect(" + strconv.Itoa(int(d)) + ")"
}

// returning reports whether an UPDATE can return the row that it changed.
func (d Dialect) returning() bool { return d != MySQL }

// greatest is the function that returns the greater of two values.
func (d Dialect) greatest() string {
	if d == SQLite {
		return "MAX"
	}
	return "GREATEST"
}

// forUpdate ends a SELECT that locks its rows. SQLite has one writer at a time
// anyway.
func (d Dialect) forUpdate() string {
	if d == SQLite {
		return ""
	}
	return " FOR UPDATE"
}

// unlessThere ends an INSERT that does nothing if the key exists. In MySQL that
// is an error, which ends the statement but not the transaction.
func (d Dialect) unlessThere() string {
	if d == MySQL {
		return ""
	}
	return " ON CONFLICT DO NOTHING"
}

// contains is the condition that a text has another in it, compared byte by
// byte. LIKE ignores case in SQLite and MySQL.
func (d Dialect) contains(column string) string {
	switch d {
	case Postgres:
		return "strpos(" + column + ", ?) > 0"
	case MySQL:
		return "INSTR(CAST(" + column + " AS BINARY), ?) > 0"
	}
	return "instr(" + column + ", ?) > 0"
}

// bind writes placeholders as the database wants them.
func (d Dialect) bind(query string) string {
	if d != Postgres {
		return query
	}
	var b strings.Builder
	for n, part := range strings.Split(query, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
	}
	return b.String()
}
