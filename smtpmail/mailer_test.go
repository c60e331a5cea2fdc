package smtpmail_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/smtpmail"
)

func newMailer(t *testing.T, cfg smtpmail.Config) *smtpmail.Mailer {
	t.Helper()
	mailer, err := smtpmail.New(cfg)
	require.NoError(t, err)
	return mailer
}

// A message arrives whole, over a connection that is encrypted before the password.
func TestSend(t *testing.T) {
	t.Parallel()
	plain := message
	plain.HTML = ""
	for name, change := range map[string]func(*server, *smtpmail.Config){
		"STARTTLS":     nil,
		"implicit TLS": func(_ *server, cfg *smtpmail.Config) { cfg.ImplicitTLS = true },
		"a name":       func(_ *server, cfg *smtpmail.Config) { cfg.Host = "localhost" },
	} {
		for _, want := range []account.Message{message, plain} {
			t.Run(fmt.Sprintf("%s, HTML %v", name, want.HTML != ""), func(t *testing.T) {
				t.Parallel()
				s, cfg := newServer(t, change)
				start := time.Now().Truncate(time.Second)
				require.NoError(t, newMailer(t, cfg).Send(t.Context(), want))
				got := s.one(t)
				require.Equal(t, received{"no-reply@example.com", want.To, "mailer", true, got.data}, got)
				header := requireMessage(t, want, got.data)
				date, err := header.Date()
				require.NoError(t, err)
				require.WithinRange(t, date, start, time.Now())
				require.Regexp(t, `^<[A-Z2-7]{26}@example\.com>$`, header.Get("Message-ID"))
				require.Equal(t, "auto-generated", header.Get("Auto-Submitted"))
				require.Equal(t, "1.0", header.Get("Mime-Version"))
				for _, absent := range []string{"User-Agent", "X-Mailer", "Bcc", "Reply-To"} {
					require.Empty(t, header.Get(absent))
				}
			})
		}
	}
}

// Without a name there is no login, and a loopback server may be without TLS if the
// configuration says so.
func TestSendWithoutTLS(t *testing.T) {
	t.Parallel()
	s, cfg := newServer(t, func(s *server, cfg *smtpmail.Config) {
		s.TLSConfig, cfg.TLSConfig, cfg.InsecureNoTLS = nil, nil, true
		cfg.Username, cfg.Password = "", ""
	})
	require.NoError(t, newMailer(t, cfg).Send(t.Context(), message))
	got := s.one(t)
	require.False(t, got.encrypted)
	require.Empty(t, got.user)
	requireMessage(t, message, got.data)
}

// A server that is not the one that is meant gets neither the message nor the password.
func TestSendRefusesServers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*server, *smtpmail.Config){
		"no STARTTLS":                  func(s *server, _ *smtpmail.Config) { s.TLSConfig, s.AllowInsecureAuth = nil, true },
		"an unknown authority":         func(_ *server, cfg *smtpmail.Config) { cfg.TLSConfig = nil },
		"an unknown authority, at 465": func(_ *server, cfg *smtpmail.Config) { cfg.TLSConfig, cfg.ImplicitTLS = nil, true },
		"another name":                 func(_ *server, cfg *smtpmail.Config) { cfg.TLSConfig.ServerName = "mail.example.com" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, cfg := newServer(t, change)
			err := newMailer(t, cfg).Send(t.Context(), message)
			require.Error(t, err)
			require.NotErrorIs(t, err, account.ErrMailRejected)
			s.none(t)
		})
	}
}

// Only a reply about this message is final. A wrong password is fixed by the operator, and
// the mails of that time are then sent.
func TestSendErrors(t *testing.T) {
	t.Parallel()
	temporary := &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "later"}
	final := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	for name, tc := range map[string]struct {
		change   func(*server, *smtpmail.Config)
		rejected bool
	}{
		"MAIL 4xx":       {func(s *server, _ *smtpmail.Config) { s.mailErr = temporary }, false},
		"MAIL 5xx":       {func(s *server, _ *smtpmail.Config) { s.mailErr = final }, false},
		"RCPT 4xx":       {func(s *server, _ *smtpmail.Config) { s.rcptErr = temporary }, false},
		"RCPT 5xx":       {func(s *server, _ *smtpmail.Config) { s.rcptErr = final }, true},
		"DATA 4xx":       {func(s *server, _ *smtpmail.Config) { s.dataErr = temporary }, false},
		"DATA 5xx":       {func(s *server, _ *smtpmail.Config) { s.dataErr = final }, true},
		"wrong password": {func(_ *server, cfg *smtpmail.Config) { cfg.Password = "wrong" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, cfg := newServer(t, tc.change)
			err := newMailer(t, cfg).Send(t.Context(), message)
			require.Error(t, err)
			require.Equal(t, tc.rejected, errors.Is(err, account.ErrMailRejected), err)
			require.NotContains(t, err.Error(), cfg.Password)
			require.Empty(t, s.mails)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		s, cfg := newServer(t, nil)
		s.stop()
		err := newMailer(t, cfg).Send(t.Context(), message)
		require.Error(t, err)
		require.NotErrorIs(t, err, account.ErrMailRejected)
	})
}

// A server that accepted the message and then goes away has the message: an error would
// send it twice.
func TestSendIsDoneOnceAccepted(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = conn.Write([]byte("220 localhost\r\n"))
		replies := map[string]string{"EHLO": "250 localhost", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go"}
		buffer := make([]byte, 1<<16)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			text := string(buffer[:n])
			if strings.HasSuffix(text, "\r\n.\r\n") {
				_, _ = conn.Write([]byte("250 accepted\r\n"))
				return
			}
			if reply := replies[text[:min(4, len(text))]]; reply != "" {
				_, _ = conn.Write([]byte(reply + "\r\n"))
			}
		}
	}()
	mailer := newMailer(t, smtpmail.Config{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, From: from, InsecureNoTLS: true})
	require.NoError(t, mailer.Send(t.Context(), message))
}

// Text from outside ends no line of a header or of the SMTP dialog. A malformed message
// reaches no server, and no retry makes it better.
func TestSendRefusesInjection(t *testing.T) {
	t.Parallel()
	s, cfg := newServer(t, nil)
	mailer := newMailer(t, cfg)
	change := func(f func(m *account.Message)) account.Message {
		m := message
		f(&m)
		return m
	}
	var messages []account.Message
	for _, bad := range []string{"\r", "\n", "\r\n", "\x00", "\t", "\x85", "\u2028", "\xff"} {
		messages = append(messages,
			change(func(m *account.Message) { m.To += bad }),
			change(func(m *account.Message) { m.To = "a" + bad + "b@example.org" }),
			change(func(m *account.Message) { m.Subject = "a" + bad + "Bcc: victim@example.net" }),
		)
	}
	for _, to := range []string{"", "user", "User <user@example.org>", "a@example.org, b@example.org", "<user@example.org>",
		`"a b"@example.org`, "user@example.org>\r\nRCPT TO:<b@example.org", "user@[127.0.0.1]", "user@example.org NOTIFY=NEVER"} {
		messages = append(messages, change(func(m *account.Message) { m.To = to }))
	}
	messages = append(messages,
		change(func(m *account.Message) { m.Text = "" }),
		change(func(m *account.Message) { m.Text = "\xff" }),
		change(func(m *account.Message) { m.HTML = "\xff" }))
	for _, m := range messages {
		require.ErrorIs(t, mailer.Send(t.Context(), m), account.ErrMailRejected, "%q %q", m.To, m.Subject)
	}
	s.none(t)

	// Bodies are content: they end no header and no message.
	body := change(func(m *account.Message) {
		m.Text = "a\n.\nMAIL FROM:<x@example.net>\n--boundary--\nBcc: victim@example.net\n"
	})
	require.NoError(t, mailer.Send(t.Context(), body))
	require.Empty(t, requireMessage(t, body, s.one(t).data).Get("Bcc"))
}

// The context ends a call that waits for the server, and so does the timeout.
func TestSendCancelled(t *testing.T) {
	t.Parallel()
	t.Run("before", func(t *testing.T) {
		t.Parallel()
		s, cfg := newServer(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, newMailer(t, cfg).Send(ctx, message), context.Canceled)
		s.none(t)
	})
	t.Run("before the reply to DATA", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		_, cfg := newServer(t, func(s *server, cfg *smtpmail.Config) {
			cfg.Timeout = time.Hour
			s.afterData = func() {
				cancel()
				<-release
			}
		})
		defer close(release)
		require.ErrorIs(t, newMailer(t, cfg).Send(ctx, message), context.Canceled)
	})
	t.Run("a silent server", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and nothing replies
		require.NoError(t, err)
		defer func() { _ = listener.Close() }()
		port := listener.Addr().(*net.TCPAddr).Port
		for _, implicit := range []bool{false, true} {
			mailer := newMailer(t, smtpmail.Config{Host: "127.0.0.1", Port: port, From: from, ImplicitTLS: implicit, Timeout: 50 * time.Millisecond})
			err = mailer.Send(t.Context(), message)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, account.ErrMailRejected)
		}
	})
}

// Many callers share a Mailer.
func TestSendConcurrently(t *testing.T) {
	t.Parallel()
	s, cfg := newServer(t, nil)
	mailer := newMailer(t, cfg)
	const n = 8
	errs := make(chan error, n)
	for range n {
		go func() { errs <- mailer.Send(t.Context(), message) }()
	}
	for range n {
		require.NoError(t, <-errs)
	}
	ids := map[string]bool{}
	for _, m := range s.mails {
		parsed, err := mail.ReadMessage(strings.NewReader(string(m.data)))
		require.NoError(t, err)
		ids[parsed.Header.Get("Message-ID")] = true
	}
	require.Len(t, ids, n)
}

// AU-03: no form of a Config or a Mailer shows the password.
func TestRedaction(t *testing.T) {
	t.Parallel()
	const password = "s3cret-of-smtp"
	cfg := smtpmail.Config{Host: "127.0.0.1", From: from, Username: "mailer", Password: password}
	mailer := newMailer(t, cfg)
	var log strings.Builder
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("x", "config", cfg, "pointer", &cfg, "mailer", mailer)
	}
	text := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text += fmt.Sprintf(verb, cfg) + fmt.Sprintf(verb, &cfg) + fmt.Sprintf(verb, mailer)
	}
	require.NotContains(t, text, password)
	require.NotContains(t, text, fmt.Sprintf("%x", password))
	require.Contains(t, text, "smtpmail.Config{[redacted]}")
	require.Contains(t, text, "smtpmail.Mailer{[redacted]}")
}
