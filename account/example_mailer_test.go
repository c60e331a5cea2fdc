package account_test

import (
	"context"
	"fmt"

	"github.com/authkit-go/authkit/account"
)

// A printer is a Mailer for development. It prints messages instead of sending them.
type printer struct{}

func (printer) Send(_ context.Context, m account.Message) error {
	_, err := fmt.Printf("To: %s\nSubject: %s\n\n%s\n", m.To, m.Subject, m.Text)
	return err
}

func ExampleMailer() {
	var mailer account.Mailer = printer{}
	err := mailer.Send(context.Background(), account.Message{
		To:      "user@example.com",
		Subject: "Your new account",
		Text:    "Welcome!",
	})
	fmt.Println(err)
	// Output:
	// To: user@example.com
	// Subject: Your new account
	//
	// Welcome!
	// <nil>
}
