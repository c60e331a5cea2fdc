package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
)

// A session from its login to its end.
func ExampleKit_Refresh() {
	ctx, t := context.Background(), authkittest.Example{}
	kit := authkittest.NewKit(t, func(c *authkit.Config) {
		c.OnEvent = []func(context.Context, authkit.Event){func(_ context.Context, e authkit.Event) {
			fmt.Println(strings.TrimSpace(fmt.Sprint(e.Kind, " ", e.Reason)))
		}}
	})
	user := authkittest.User(t, kit)
	first, err := kit.Login(ctx, user.Email, authkittest.Password)
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
