package authkit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/authkit-go/authkit"
)

// At its start a service logs what it would have mended. Operators read it; users never do.
func ExampleKit_Doctor() {
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("a-very-long-password-that-is-no-secret"),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 10}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range kit.Doctor(context.Background()) {
		fmt.Println(f.Severity, f.Code)
	}
	for _, setting := range kit.Settings()[:3] {
		fmt.Println(setting)
	}
	// Output:
	// WARN weak_secret
	// WARN long_access_tokens
	// WARN low_cost
	// WARN unchecked_passwords
	// WARN no_throttle
	// WARN memory_store
	// INFO sessions_off
	// INFO short_passwords
	// INFO no_role_table
	// Tokens.Keys=1
	// Tokens.Keys[0]=HS256 [redacted], signs
	// Tokens.Issuer=
}
