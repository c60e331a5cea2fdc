package account_test

import (
	"context"
	"fmt"
	"log"
	"regexp"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
)

// A console prints mails instead of sending them, and keeps the link of the
// last one.
type console struct{ token string }

func (p *console) Send(_ context.Context, m account.Message) error {
	fmt.Printf("to %s: %s\n", m.To, m.Subject)
	p.token = regexp.MustCompile(`token=(\S+)`).FindStringSubmatch(m.Text)[1]
	return nil
}

// A profile is what the program itself wants to know.
type profile struct {
	City string `json:"city"`
}

// A stranger signs up: the address is confirmed first, and the account is
// created with it.
func Example() {
	ctx := context.Background()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, // for a quick example
	})
	if err != nil {
		log.Fatal(err)
	}
	mailer := new(console)
	accounts, err := account.New(kit, account.Config{
		BaseURL: "https://example.com/account",
		Key:     []byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352"),
		Mailer:  mailer,
		Service: "Example",
		SignUp: account.OnSignUp(func(ctx context.Context, u authkit.User, p profile) error {
			fmt.Println("store the city of", u.Email, "in the same transaction:", p.City)
			return nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	// A program mounts the pages, which call the methods below, and runs the
	// outbox:
	//
	//	accounts.Mount(mux)
	//	go accounts.Run(ctx)

	if err := accounts.Register(ctx, "ann@example.com"); err != nil {
		log.Fatal(err)
	}
	if err := accounts.Deliver(ctx); err != nil {
		log.Fatal(err)
	}
	u, err := accounts.SignUp(ctx, mailer.token, account.NewAccount{
		Password: "correct horse", FullName: "Ann", Fields: []byte(`{"city":"Oslo"}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.Email, u.FullName, !u.EmailVerifiedAt.IsZero())
	// Output:
	// to ann@example.com: Confirm your e-mail address for Example
	// store the city of ann@example.com in the same transaction: Oslo
	// ann@example.com Ann true
}
