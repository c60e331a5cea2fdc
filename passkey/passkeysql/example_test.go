package passkeysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeysql"
	"github.com/authkit-go/authkit/sqlstore"
)

// The passkeys are in the database of the accounts, so that they change in the
// same transactions.
func Example() {
	open := func(ctx context.Context, pool *sql.DB, secret []byte) (*passkey.Passkeys, error) {
		db, err := sqlstore.Open(pool, sqlstore.Postgres, nil)
		if err != nil {
			return nil, err
		}
		if err := db.Migrate(ctx, passkeysql.Migrations()); err != nil {
			return nil, err
		}
		factor, err := passkey.NewFactor(passkey.Config{
			RPID: "example.com", Origins: []string{"https://example.com"}, Store: passkeysql.New(db),
		})
		if err != nil {
			return nil, err
		}
		kit, err := authkit.New(authkit.Config{
			Secret: secret, Users: db, Sessions: authkit.SessionConfig{Store: db},
			SecondFactors: []authkit.SecondFactor{factor}, UserData: []authkit.UserData{factor},
		})
		if err != nil {
			return nil, err
		}
		return passkey.New(kit, factor)
	}
	_ = open
}

// The files that make the tables, for another migration tool.
func ExampleMigrations() {
	files, err := fs.Glob(passkeysql.Migrations().For(sqlstore.Postgres), "*.sql")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(files)
	// Output: [0001_passkeys.sql]
}
