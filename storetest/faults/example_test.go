package faults_test

import (
	"context"
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest/faults"
)

// The roles of an account change as a whole, whatever fails. In a test file, the function is
// called TestSetRoles.
func ExampleEach() {
	testSetRoles := func(t *testing.T) {
		faults.Each(t, func(t *testing.T, in *faults.Injector) {
			store := in.Store(authkit.NewMemoryStore())
			kit, err := authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: store})
			if err != nil {
				t.Fatal(err)
			}
			u, err := kit.CreateUserWithoutPassword(t.Context(), authkit.User{Email: "ada@example.com"})
			if err != nil {
				t.Fatal(err)
			}
			err = in.Do(t.Context(), func(ctx context.Context) error {
				_, err := kit.SetRoles(ctx, u.ID, "editor", "reviewer")
				return err
			})
			u, _ = kit.User(t.Context(), u.ID)
			if n := len(u.Roles); n == 1 || err == nil && n != 2 {
				t.Errorf("the roles are %q after the error %v", u.Roles, err)
			}
		})
	}
	_ = testSetRoles
}
