package totpsql_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/totp/totpsql"
)

// The factors are in the database of the accounts, so that a factor and the end
// of the user's other sessions are one transaction.
func Example() {
	open := func(ctx context.Context, pool *sql.DB, key []byte) (*authkit.Kit, error) {
		db, err := sqlstore.Open(pool, sqlstore.Postgres, nil)
		if err != nil {
			return nil, err
		}
		if err := db.Migrate(ctx, totpsql.Migrations()); err != nil {
			return nil, err
		}
		otp, err := totp.New(totp.Config{Issuer: "Example", Keys: [][]byte{key}, Store: totpsql.New(db)})
		if err != nil {
			return nil, err
		}
		recovery := otp.RecoveryCodes()
		return authkit.New(authkit.Config{
			Users: db, Sessions: authkit.SessionConfig{Store: db},
			SecondFactors: []authkit.SecondFactor{otp, recovery},
			UserData:      []authkit.UserData{otp, recovery},
		})
	}
	_ = open
}

// The files that make the tables, for another migration tool.
func ExampleMigrations() {
	files, err := fs.Glob(totpsql.Migrations().For(sqlstore.Postgres), "*.sql")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(files)
	// Output: [0001_totp.sql]
}
