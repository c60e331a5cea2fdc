package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"

	"github.com/authkit-go/authkit"
)

// A session from its login to its end.
func ExampleKit_Refresh() {
	ctx, store := context.Background(), authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("a secret of 32 random bytes, or more"),
		Users:     store,
		Sessions:  authkit.SessionConfig{Store: store},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, // quick, for an example
		Logger:    slog.New(slog.DiscardHandler),
		OnEvent: []func(context.Context, authkit.Event){func(_ context.Context, e authkit.Event) {
			fmt.Println(strings.TrimSpace(fmt.Sprint(e.Kind, " ", e.Reason)))
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	user, err := kit.CreateUser(ctx, authkit.User{Email: "ann@example.com"}, "correct horse")
	if err != nil {
		log.Fatal(err)
	}
	first, err := kit.Login(ctx, "ann@example.com", "correct horse")
	if err != nil {
		log.Fatal(err)
	}
	second, err := kit.Refresh(ctx, first.RefreshToken)
	if err != nil {
		log.Fatal(err)
	}
	again, err := kit.Refresh(ctx, first.RefreshToken) // another tab, or the answer was lost
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same successor:", again.RefreshToken == second.RefreshToken)

	if err := kit.LogoutEverywhere(ctx, user.ID); err != nil {
		log.Fatal(err)
	}
	_, err = kit.Refresh(ctx, second.RefreshToken)
	fmt.Println("refused:", errors.Is(err, authkit.ErrInvalidRefreshToken))
	// Output:
	// user_created
	// authn_login_success
	// session_renewed
	// session_renewed
	// the same successor: true
	// authn_logout
	// authn_refresh_fail revoked
	// refused: true
}
