package doctor_test

import (
	"context"
	"fmt"
	"log"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/doctor"
)

// A service logs its settings and their problems when it starts. Only operators should see
// them.
func Example() {
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("a-very-long-password-that-is-no-secret"),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 10}},
	})
	if err != nil {
		log.Fatal(err)
	}
	settings := kit.Settings()
	fmt.Println(settings.HasherName, settings.Tokens.Lifetime)
	for _, f := range doctor.Check(context.Background(), kit) {
		fmt.Println(f.Severity, f.Code)
	}
	// Output:
	// bcrypt, cost 10 30m0s
	// WARN weak_secret
	// WARN long_access_tokens
	// WARN low_cost
	// WARN unchecked_passwords
	// WARN no_throttle
	// WARN memory_store
	// INFO sessions_off
	// INFO short_passwords
	// INFO no_role_table
}
