package oidcloginsql_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
	"github.com/authkit-go/authkit/oidclogin/oidcloginsql"
	"github.com/authkit-go/authkit/sqlstore"
)

// Accounts and identities in one database, in the same transactions.
func Example() {
	pool, err := sql.Open("pgx", "postgres://127.0.0.1/app") // import github.com/jackc/pgx/v5/stdlib
	if err != nil {
		log.Print(err)
		return
	}
	db, err := sqlstore.Open(pool, sqlstore.Postgres, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := db.Migrate(context.Background(), oidcloginsql.Migrations()); err != nil {
		log.Fatal(err)
	}
	identities := oidcloginsql.New(db)
	_, err = authkit.New(authkit.Config{
		Secret:   []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:    db,
		Sessions: authkit.SessionConfig{Store: db, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}},
		UserData: []authkit.UserData{oidclogin.UserData(identities)},
	})
	if err != nil {
		log.Fatal(err)
	}
}
