package smtpmail_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/smtpmail"
)

const from = "Köln Accounts <no-reply@example.com>"

// message has what mails break on: long lines, a dot at the start of a line, non-ASCII.
var message = account.Message{
	To:      "user@example.org",
	Subject: "Paßwort zurücksetzen: " + string(bytes.Repeat([]byte("long "), 40)) + "end",
	Text:    "Öffnen Sie\n\nhttps://example.com/reset?token=" + string(bytes.Repeat([]byte("x"), 1500)) + "\n.\n..dots\n",
	HTML:    `<p>Öffnen Sie <a href="https://example.com/reset?token=abc">den Link</a></p>`,
}

// certificate returns a certificate for 127.0.0.1 and localhost, its key and the pool that
// trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "smtpmail test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// pemFiles writes a certificate and its key for a server that is a program.
func pemFiles(t *testing.T, cert tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	return certFile, keyFile
}

// A received is a mail as the server got it.
type received struct {
	from, to, user string
	encrypted      bool
	data           []byte
}

// A server is an SMTP server in this process.
type server struct {
	*smtp.Server
	stop   func() // ends the server, and waits
	mu     sync.Mutex
	mails  []received
	logins []string // every name and password that a client sent

	mailErr, rcptErr, dataErr error
	afterData                 func() // before the reply
}

// newServer starts a server and returns the Config of a client. The change is made before
// it starts.
func newServer(t *testing.T, change func(s *server, cfg *smtpmail.Config)) (*server, smtpmail.Config) {
	t.Helper()
	cert, pool := certificate(t)
	s := new(server)
	s.Server = smtp.NewServer(s)
	s.Domain = "localhost"
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.ErrorLog = discard{}
	cfg := smtpmail.Config{
		Host: "127.0.0.1", From: from, Username: "mailer", Password: "correct horse",
		TLSConfig: &tls.Config{RootCAs: pool}, Timeout: time.Minute,
	}
	if change != nil {
		change(s, &cfg)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.Port = listener.Addr().(*net.TCPAddr).Port
	if cfg.ImplicitTLS {
		listener = tls.NewListener(listener, s.TLSConfig)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(listener) }()
	s.stop = sync.OnceFunc(func() {
		_ = s.Close()
		_ = listener.Close() // which Close does not know before Serve has begun
		<-done
	})
	t.Cleanup(s.stop)
	return s, cfg
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

// one returns the only mail that came.
func (s *server) one(t *testing.T) received {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Len(t, s.mails, 1)
	return s.mails[0]
}

// none requires that no mail and no password came.
func (s *server) none(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Empty(t, s.mails)
	require.Empty(t, s.logins)
}

func (s *server) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{server: s, conn: c}, nil
}

// A session is one connection.
type session struct {
	server *server
	conn   *smtp.Conn
	mail   received
}

func (s *session) Reset()        { s.mail = received{user: s.mail.user} }
func (s *session) Logout() error { return nil }

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.logins = append(s.server.logins, user+":"+password)
		if password != "correct horse" {
			return smtp.ErrAuthFailed
		}
		s.mail.user = user
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.mail.from = from
	return s.server.mailErr
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = to
	return s.server.rcptErr
}

func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.server.dataErr != nil {
		return s.server.dataErr
	}
	_, s.mail.encrypted = s.conn.TLSConnectionState()
	s.mail.data = data
	s.server.mu.Lock()
	s.server.mails = append(s.server.mails, s.mail)
	s.server.mu.Unlock()
	if s.server.afterData != nil {
		s.server.afterData()
	}
	return nil
}

// requireMessage requires that a mail is the message, and well-formed.
func requireMessage(t *testing.T, want account.Message, data []byte) mail.Header {
	t.Helper()
	for line := range bytes.Lines(data) {
		require.LessOrEqual(t, len(line), 1000, "RFC 5321 section 4.5.3.1.6")
		require.True(t, bytes.HasSuffix(line, []byte("\r\n")), "%q", line)
		for _, b := range line {
			require.Less(t, b, byte(0x80), "%q", line)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(data))
	require.NoError(t, err)
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, want.Subject, subject)
	to, err := m.Header.AddressList("To")
	require.NoError(t, err)
	require.Equal(t, []*mail.Address{{Address: want.To}}, to)
	sender, err := m.Header.AddressList("From")
	require.NoError(t, err)
	require.Equal(t, []*mail.Address{{Name: "Köln Accounts", Address: "no-reply@example.com"}}, sender)

	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	if want.HTML == "" {
		require.Equal(t, "text/plain", kind)
		requireText(t, want.Text, m.Body, m.Header.Get("Content-Transfer-Encoding"))
		return m.Header
	}
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, part := range []struct{ kind, text string }{{"text/plain", want.Text}, {"text/html", want.HTML}} { // the best is last
		p, err := parts.NextRawPart()
		require.NoError(t, err)
		kind, params, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		require.NoError(t, err)
		require.Equal(t, part.kind, kind)
		require.Equal(t, "UTF-8", params["charset"])
		requireText(t, part.text, p, p.Header.Get("Content-Transfer-Encoding"))
	}
	_, err = parts.NextRawPart()
	require.ErrorIs(t, err, io.EOF)
	return m.Header
}

// requireText requires that a body is a text. Mails end lines with CR LF.
func requireText(t *testing.T, want string, body io.Reader, encoding string) {
	t.Helper()
	require.Equal(t, "quoted-printable", encoding)
	text, err := io.ReadAll(quotedprintable.NewReader(body))
	require.NoError(t, err)
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	require.Equal(t, want, string(text))
}
