// Package smtpmail sends the mails of package account through an SMTP server.
//
//	mailer, err := smtpmail.New(smtpmail.Config{
//		Host:     "smtp.example.com",
//		Username: "authkit",
//		Password: os.Getenv("SMTP_PASSWORD"),
//		From:     "Example <no-reply@example.com>",
//	})
//
// A [Mailer] implements [account.Mailer]. Every message has its own connection, which is
// encrypted before the name and the password are sent. Without [Config].InsecureNoTLS, a
// server that offers no TLS gets no message.
//
// Send waits for the server. Package account calls it outside of requests, so that the time
// of an answer does not show who has an account. Your program should do the same.
//
// The package is tested with aiosmtpd 1.4.3.
package smtpmail
