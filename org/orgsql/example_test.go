package orgsql_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/org/orgsql"
	"github.com/authkit-go/authkit/sqlstore"
)

// Organizations are in the database of the accounts, so that they change
// together.
func Example() {
	open := func(ctx context.Context, pool *sql.DB, send func(context.Context, org.Invite) error) (*org.Orgs, error) {
		db, err := sqlstore.Open(pool, sqlstore.Postgres, nil)
		if err != nil {
			return nil, err
		}
		if err := db.Migrate(ctx, orgsql.Migrations()); err != nil {
			return nil, err
		}
		store := orgsql.New(db)
		kit, err := authkit.New(authkit.Config{Users: db, UserData: []authkit.UserData{org.UserData(store)}})
		if err != nil {
			return nil, err
		}
		return org.New(kit, org.Config{Store: store, Send: send})
	}
	_ = open
}

// The files that make the tables, for another migration tool.
func ExampleMigrations() {
	files, err := fs.Glob(orgsql.Migrations().For(sqlstore.Postgres), "*.sql")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(files)
	// Output: [0001_org.sql]
}
