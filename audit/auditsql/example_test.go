package auditsql_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log"

	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/sqlstore"
)

// The log is in the database of the accounts.
func Example() {
	open := func(ctx context.Context, pool *sql.DB, key []byte) (*audit.Log, error) {
		db, err := sqlstore.Open(pool, sqlstore.Postgres, nil)
		if err != nil {
			return nil, err
		}
		if err := db.Migrate(ctx, auditsql.Migrations()); err != nil {
			return nil, err
		}
		return audit.New(auditsql.New(db), audit.Options{Key: key})
	}
	_ = open
}

// The files that make the table, for another migration tool.
func ExampleMigrations() {
	files, err := fs.Glob(auditsql.Migrations().For(sqlstore.Postgres), "*.sql")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(files)
	// Output: [0001_audit.sql]
}
