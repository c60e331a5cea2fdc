package audit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
)

// A log of who logged in, and who did not. It is in memory here; a program would rather keep
// it in a file, with trail.Open, or in a table.
func Example() {
	store := audit.NewMemoryStore(1000)
	auditLog, err := audit.New(store, audit.Options{Key: []byte("a key of 32 random bytes, or more")})
	if err != nil {
		log.Fatal(err)
	}
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("a secret of 32 random bytes, or more"),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 10}},
		OnEvent:   []func(context.Context, authkit.Event){auditLog.OnEvent},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := authkit.WithClient(context.Background(), authkit.ClientInfo{Address: "192.0.2.7"})
	if _, err := kit.CreateUser(ctx, authkit.User{Email: "user@example.com"}, "correct horse"); err != nil {
		log.Fatal(err)
	}
	_, _ = kit.Login(ctx, "user@example.com", "wrong horse")
	_, _ = kit.Login(ctx, "user@example.com", "correct horse")

	// A program would rather: go auditLog.Run(ctx)
	if err := auditLog.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	entries, err := store.AuditEntries(ctx, audit.Query{Limit: 10})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range entries {
		fmt.Println(e.Seq, e.Kind, e.Outcome, e.Reason, e.Address)
	}
	// Output:
	// 1 user_created success  192.0.2.7
	// 2 authn_login_fail failure wrong_password 192.0.2.7
	// 3 authn_login_success success  192.0.2.7
}
