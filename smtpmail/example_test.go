package smtpmail_test

import (
	"fmt"
	"log"

	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/smtpmail"
)

// New opens no connection. A wrong host or password shows when the first message is sent.
func Example() {
	cfg, err := smtpmail.ParseURL("smtps://mailer:secret@smtp.example.com?from=no-reply@example.com")
	if err != nil {
		log.Fatal(err)
	}
	mailer, err := smtpmail.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	var _ account.Mailer = mailer
	fmt.Println(cfg)
	// Output: smtpmail.Config{[redacted]}
}
