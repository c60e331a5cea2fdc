package apikeysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/apikey/apikeysql"
	"github.com/authkit-go/authkit/sqlstore"
)

// The keys are in the database of the accounts, so that an account and its keys
// end in one transaction.
func Example() {
	open := func(ctx context.Context, pool *sql.DB, secret []byte) (*apikey.Keys, error) {
		db, err := sqlstore.Open(pool, sqlstore.Postgres, nil)
		if err != nil {
			return nil, err
		}
		if err := db.Migrate(ctx, apikeysql.Migrations()); err != nil {
			return nil, err
		}
		authenticator, err := apikey.NewAuthenticator(apikey.Config{Store: apikeysql.New(db)})
		if err != nil {
			return nil, err
		}
		kit, err := authkit.New(authkit.Config{
			Secret: secret, Users: db, Sessions: authkit.SessionConfig{Store: db},
			Authenticators: []authkit.Authenticator{authenticator}, UserData: []authkit.UserData{authenticator},
		})
		if err != nil {
			return nil, err
		}
		return apikey.New(kit, authenticator)
	}
	_ = open
}

// The files that make the tables, for another migration tool.
func ExampleMigrations() {
	files, err := fs.Glob(apikeysql.Migrations().For(sqlstore.Postgres), "*.sql")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(files)
	// Output: [0001_apikeys.sql]
}
