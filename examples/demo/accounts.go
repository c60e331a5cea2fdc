package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/smtpmail"
)

// accountPath is the path of the pages for sign-up, password resets and the rest.
const accountPath = "/auth"

// newMailer returns the mailer. Mails go to the log, or to the server of -smtp.
func newMailer(cfg config) (account.Mailer, error) {
	switch {
	case cfg.mailer != nil:
		return cfg.mailer, nil
	case cfg.smtp == "":
		return logMailer{cfg.log}, nil
	}
	server, err := smtpmail.ParseURL(cfg.smtp)
	if err != nil {
		return nil, fmt.Errorf("-smtp: %w", err)
	}
	mailer, err := smtpmail.New(server)
	if err != nil {
		return nil, fmt.Errorf("-smtp: %w", err)
	}
	return mailer, nil
}

// newAccounts returns the flows of accounts.
func newAccounts(cfg config, kit *authkit.Kit, store *storage, mailer account.Mailer) (*account.Accounts, error) {
	key, err := cfg.key("demo: outbox")
	if err != nil {
		return nil, err
	}
	return account.New(kit, account.Config{
		BaseURL:   cfg.baseURL + accountPath,
		Key:       key,
		Mailer:    mailer,
		Store:     store.outbox,
		Service:   "Backend Security Demo",
		Roles:     []string{"user"},
		CodeLogin: true,
	})
}

// A logMailer prints mails to the log instead of sending them.
type logMailer struct{ log *slog.Logger }

func (m logMailer) Send(_ context.Context, mail account.Message) error {
	m.log.Info("mail", "to", mail.To, "subject", mail.Subject, "text", mail.Text)
	return nil
}

// baseURL returns the address of a server for links in mails. Without https, links lead to this
// machine only: use -base-url behind a proxy.
func baseURL(addr net.Addr, secure bool) string {
	if secure {
		return "https://" + addr.String()
	}
	at, err := netip.ParseAddrPort(addr.String())
	switch {
	case err != nil: // a Unix socket
		return "http://localhost"
	case !at.Addr().IsLoopback():
		return fmt.Sprintf("http://localhost:%d", at.Port())
	}
	return "http://" + addr.String()
}
