package accountsql_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/account/accountsql"
	"github.com/authkit-go/authkit/sqlstore"
)

// The outbox is in the database of the accounts, so that a mail and the change
// that it tells of are one transaction.
func Example() {
	open := func(ctx context.Context, pool *sql.DB, key []byte, mailer account.Mailer) (*account.Accounts, error) {
		db, err := sqlstore.Open(pool, sqlstore.Postgres, nil)
		if err != nil {
			return nil, err
		}
		if err := db.Migrate(ctx, accountsql.Migrations()); err != nil {
			return nil, err
		}
		kit, err := authkit.New(authkit.Config{Users: db, Sessions: authkit.SessionConfig{Store: db}})
		if err != nil {
			return nil, err
		}
		return account.New(kit, account.Config{
			BaseURL: "https://example.com/account", Key: key, Mailer: mailer, Store: accountsql.New(db),
		})
	}
	_ = open
}

// The files that make the tables, for another migration tool.
func ExampleMigrations() {
	files, err := fs.Glob(accountsql.Migrations().For(sqlstore.Postgres), "*.sql")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(files)
	// Output: [0001_account.sql]
}
