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

// The address of a database, such as that of DATABASE_URL, becomes the arguments of
// sql.Open and of Open.
func ExampleParseURL() {
	driver, dsn, dialect, err := sqlstore.ParseURL("mysql://auth@127.0.0.1/auth")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(driver, dialect)
	fmt.Println(dsn)
	// Output:
	// mysql mysql
	// auth:@tcp(127.0.0.1:3306)/auth?charset=utf8mb4&interpolateParams=true
}

// The files that make the tables, for another migration tool.
func ExampleSchema() {
	files, err := fs.Glob(sqlstore.Schema().For(sqlstore.Postgres), "*.sql")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(files[0], files[1])
	// Output: 0001_users.sql 0002_sessions.sql
}

// A program that imports a driver, such as github.com/jackc/pgx/v5/stdlib.
func Example() {
	driver, dsn, dialect, err := sqlstore.ParseURL(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	pool, err := sql.Open(driver, dsn)
	if err != nil {
		log.Fatal(err)
	}
	pool.SetMaxOpenConns(10)
	pool.SetMaxIdleConns(10)
	db, err := sqlstore.Open(pool, dialect, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := db.Migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
	_, err = authkit.New(authkit.Config{
		Secret:   []byte(os.Getenv("SECRET_KEY")),
		Users:    db,
		Sessions: authkit.SessionConfig{Store: db},
	})
	if err != nil {
		log.Fatal(err)
	}
}

// An account and a row of the program are created together or not at all.
func ExampleDB_WithTx() {
	signUp := func(ctx context.Context, pool *sql.DB, db *sqlstore.DB, kit *authkit.Kit, email, password, company string) error {
		tx, err := pool.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after the commit
		u, err := kit.CreateUser(db.WithTx(ctx, tx), authkit.User{Email: email}, password)
		if err != nil {
			return err // ErrEmailTaken, for one
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO profiles (user_id, company) VALUES ($1, $2)", u.ID, company); err != nil {
			return err
		}
		return tx.Commit()
	}
	_ = signUp
}

// A feature keeps a table of its own. Its statements join the transaction of the context.
func ExampleDB_InTx() {
	rename := func(ctx context.Context, db *sqlstore.DB, from, to string) error {
		return db.InTx(ctx, func(ctx context.Context) error {
			var members int
			err := db.Query(ctx, func(scan func(...any) error) error { return scan(&members) },
				`SELECT members FROM {teams} WHERE tenant = ? AND name = ?`, db.Tenant(), from)
			if err != nil || members == 0 {
				return err
			}
			_, err = db.Exec(ctx, `UPDATE {teams} SET name = ? WHERE tenant = ? AND name = ?`, to, db.Tenant(), from)
			return err
		})
	}
	_ = rename
}
