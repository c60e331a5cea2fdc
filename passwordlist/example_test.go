package passwordlist_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passwordlist"
)

func Example() {
	check := passwordlist.All(passwordlist.Check, passwordlist.Words("acme"))
	user := authkit.User{Email: "ada@example.com", FullName: "Ada Lovelace"}
	for _, password := range []string{"Password1", "lovelace1815", "acme-2026", "violet kites drift"} {
		err := check(context.Background(), password, user)
		fmt.Println(password, errors.Is(err, authkit.ErrPasswordRefused))
	}
	// Output:
	// Password1 true
	// lovelace1815 true
	// acme-2026 true
	// violet kites drift false
}
