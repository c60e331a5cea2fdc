package trusteddevicesql_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log"

	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/trusteddevice"
	"github.com/authkit-go/authkit/trusteddevice/trusteddevicesql"
)

// The devices are in the database of the accounts, so that a change of the
// password removes them in its transaction.
func Example() {
	open := func(ctx context.Context, pool *sql.DB) (*trusteddevice.Devices, error) {
		db, err := sqlstore.Open(pool, sqlstore.Postgres, nil)
		if err != nil {
			return nil, err
		}
		if err := db.Migrate(ctx, trusteddevicesql.Migrations()); err != nil {
			return nil, err
		}
		return trusteddevice.New(trusteddevice.Config{Store: trusteddevicesql.New(db)})
	}
	_ = open
}

// The files that make the table, for another migration tool.
func ExampleMigrations() {
	files, err := fs.Glob(trusteddevicesql.Migrations().For(sqlstore.Postgres), "*.sql")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(files)
	// Output: [0001_trusteddevice.sql]
}
