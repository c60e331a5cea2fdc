package smtpmail

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
)

// clientTimeout limits each step of the client. The context, which limits all of them,
// ends first.
const clientTimeout = 365 * 24 * time.Hour

// A Mailer sends messages through an SMTP server. It implements [account.Mailer]. Make one
// with [New]. It is safe for concurrent use.
type Mailer struct {
	cfg    Config
	from   *netmail.Address
	domain string // of message IDs
}

// New returns a Mailer. The error joins all problems of cfg. New opens no connection.
func New(cfg Config) (*Mailer, error) {
	from, cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	return &Mailer{cfg, from, domain}, nil
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so that logging
// a Mailer does not reveal the password.
func (*Mailer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("smtpmail.Mailer{[redacted]}")) }

// Send sends a message. It returns nil once the server has accepted the message.
//
// The errors are:
//   - account.ErrMailRejected if the server refuses the recipient or the content for good
//     (RFC 5321, replies 5xx to RCPT and DATA), or if m is malformed: a To that
//     [authkit.NormalizeEmail] refuses, control characters in the Subject, or no Text.
//   - The error of ctx. The server may have accepted the message.
//   - Any other error of the server or the network. Calling Send again may succeed. This
//     includes a refused password or sender, which are problems of the configuration.
//
// The text of an error can name the recipient.
func (m *Mailer) Send(ctx context.Context, message account.Message) error {
	msg, err := m.compose(message)
	if err != nil {
		return fmt.Errorf("smtpmail: %w: %w", account.ErrMailRejected, err)
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("smtpmail: %w", err)
	}
	var conns connections
	defer conns.close()
	client, err := mail.NewClient(m.cfg.Host, m.options(ctx, &conns)...)
	if err != nil {
		return fmt.Errorf("smtpmail: %w", err)
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if msg.IsDelivered() { // what fails after that, such as QUIT, is no failure
		return nil
	}
	switch {
	case err == nil:
		return errors.New("smtpmail: the message was not sent")
	case ctx.Err() != nil:
		return fmt.Errorf("smtpmail: %w: %w", ctx.Err(), err)
	case isRejected(err):
		return fmt.Errorf("smtpmail: %w: %w", account.ErrMailRejected, err)
	}
	return fmt.Errorf("smtpmail: %w", err)
}

// isRejected reports whether the server refused the recipient or the content for good.
func isRejected(err error) bool {
	failed, ok := errors.AsType[*mail.SendError](err)
	about := []mail.SendErrReason{mail.ErrSMTPRcptTo, mail.ErrSMTPData, mail.ErrSMTPDataClose}
	return ok && failed.ErrorCode() >= 500 && failed.ErrorCode() != 530 && slices.Contains(about, failed.Reason)
}

// options returns the options of a client for one message.
func (m *Mailer) options(ctx context.Context, conns *connections) []mail.Option {
	policy := mail.TLSMandatory
	if m.cfg.ImplicitTLS || m.cfg.InsecureNoTLS {
		policy = mail.NoTLS // dial has encrypted the connection, or nothing does
	}
	options := []mail.Option{
		mail.WithPort(m.cfg.Port),
		mail.WithTimeout(clientTimeout),
		mail.WithTLSPolicy(policy),
		mail.WithTLSConfig(m.cfg.TLSConfig),
		mail.WithoutNoop(),
		mail.WithoutSMTPUTF8(), // all addresses are ASCII, and not every server relays it
		mail.WithDialContextFunc(func(dialCtx context.Context, _, _ string) (net.Conn, error) {
			conn, err := m.dial(dialCtx)
			if err != nil {
				return nil, err
			}
			conns.add(ctx, conn)
			return m.encrypt(dialCtx, conn)
		}),
	}
	if m.cfg.Username != "" {
		options = append(options, mail.WithSMTPAuthCustom(&login{cfg: &m.cfg}))
	}
	return options
}

// dial opens a connection.
func (m *Mailer) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(m.cfg.Host, strconv.Itoa(m.cfg.Port)))
}

// encrypt starts TLS if that is due before the first reply of the server.
func (m *Mailer) encrypt(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if !m.cfg.ImplicitTLS {
		return conn, nil
	}
	encrypted := tls.Client(conn, m.cfg.TLSConfig)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return encrypted, nil
}

// connections are the connections of one message. They are closed here, because the
// client leaves one open if it fails, and does not watch the context.
type connections struct{ closers []func() }

func (c *connections) add(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c.closers = append(c.closers, func() {
		stop()
		_ = conn.Close()
	})
}

func (c *connections) close() {
	for _, f := range c.closers {
		f()
	}
}

// A login is an smtp.Auth that logs in with PLAIN or LOGIN, over TLS.
type login struct {
	smtp.Auth // of the chosen mechanism
	cfg       *Config
}

func (l *login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS && !l.cfg.InsecureNoTLS {
		return "", nil, smtp.ErrUnencrypted
	}
	switch {
	case slices.Contains(server.Auth, "PLAIN"):
		l.Auth = smtp.PlainAuth("", l.cfg.Username, l.cfg.Password, l.cfg.Host, l.cfg.InsecureNoTLS)
	case slices.Contains(server.Auth, "LOGIN"):
		l.Auth = smtp.LoginAuth(l.cfg.Username, l.cfg.Password, l.cfg.Host, l.cfg.InsecureNoTLS)
	default:
		return "", nil, errors.New("the server has no login with PLAIN or LOGIN")
	}
	return l.Auth.Start(server)
}

// compose returns the mail of a message. Nothing that could end a line gets into a header.
func (m *Mailer) compose(message account.Message) (*mail.Msg, error) {
	if _, err := authkit.NormalizeEmail(message.To); err != nil {
		return nil, err
	}
	if hasControl(message.Subject) || !utf8.ValidString(message.Subject) {
		return nil, errors.New("the subject has control characters or invalid UTF-8")
	}
	if message.Text == "" {
		return nil, errors.New("the message has no text")
	}
	if !utf8.ValidString(message.Text) || !utf8.ValidString(message.HTML) {
		return nil, errors.New("the message has invalid UTF-8")
	}
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(m.from)
	msg.ToMailAddress(&netmail.Address{Address: message.To})
	msg.Subject(message.Subject)
	msg.SetMessageIDWithValue(rand.Text() + "@" + m.domain)
	msg.SetDateWithValue(time.Now())
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834
	msg.SetBodyString(mail.TypeTextPlain, message.Text)
	if message.HTML != "" {
		msg.AddAlternativeString(mail.TypeTextHTML, message.HTML)
	}
	return msg, nil
}
