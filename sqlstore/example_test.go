package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log"
	"os"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

// The files that make the schema, for whoever runs them with a tool of their own.
func ExampleMigrations() {
	files, err := fs.Glob(sqlstore.Migrations(sqlstore.Postgres), "*.sql")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(files[0], files[1])
	// Output: 0001_users.sql 0002_sessions.sql
}

// A program with a driver of Postgres: it imports github.com/jackc/pgx/v5/stdlib.
func Example() {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(10)
	store, err := sqlstore.New(db, sqlstore.Postgres, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
	_, err = authkit.New(authkit.Config{
		Secret:   []byte(os.Getenv("SECRET_KEY")),
		Users:    store,
		Sessions: authkit.SessionConfig{Store: store},
	})
	if err != nil {
		log.Fatal(err)
	}
}

// An account and a row of the host's come into being together, or not at all.
func ExampleStore_WithTx() {
	signUp := func(ctx context.Context, db *sql.DB, store *sqlstore.Store, u authkit.StoredUser, company string) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after the commit
		if err := store.WithTx(tx).CreateUser(ctx, u); err != nil {
			return err // ErrEmailTaken, for one
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO profiles (user_id, company) VALUES ($1, $2)", u.ID, company); err != nil {
			return err
		}
		return tx.Commit()
	}
	_ = signUp
}
