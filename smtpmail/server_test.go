package smtpmail_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/smtpmail"
)

// TestServer sends through aiosmtpd, a server that others wrote, over STARTTLS and over
// implicit TLS. The server keeps the mails in a folder.
func TestServer(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("aiosmtpd")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip("aiosmtpd is not installed: apt-get install python3-aiosmtpd")
	}
	require.NoError(t, err)
	for _, implicit := range []bool{false, true} {
		name := map[bool]string{false: "STARTTLS", true: "implicit TLS"}[implicit]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert, pool := certificate(t)
			certFile, keyFile := pemFiles(t, cert)
			box := filepath.Join(t.TempDir(), "box")
			flags := []string{"--tlscert", certFile, "--tlskey", keyFile}
			if implicit {
				flags = []string{"--smtpscert", certFile, "--smtpskey", keyFile}
			}
			port := start(t, program, append(flags, "-s", "20000", "-c", "aiosmtpd.handlers.Mailbox", box))
			mailer := newMailer(t, smtpmail.Config{
				Host: "localhost", Port: port, From: from, ImplicitTLS: implicit, TLSConfig: &tls.Config{RootCAs: pool}, Timeout: time.Minute,
			})
			require.NoError(t, mailer.Send(t.Context(), message))
			files, err := filepath.Glob(filepath.Join(box, "new", "*"))
			require.NoError(t, err)
			require.Len(t, files, 1)
			data, err := os.ReadFile(files[0])
			require.NoError(t, err)
			header := requireMessage(t, message, bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))) // as a Maildir keeps it
			require.Equal(t, "no-reply@example.com", header.Get("X-MailFrom"))
			require.Equal(t, message.To, header.Get("X-RcptTo"))

			large := message
			large.Text = strings.Repeat("much text\n", 4000)
			require.ErrorIs(t, mailer.Send(t.Context(), large), account.ErrMailRejected)
		})
	}
}

// start starts a server and returns its port, once it listens. Another program may take a
// free port first; then the server ends and gets another one.
func start(t *testing.T, program string, args []string) int {
	t.Helper()
	for range 5 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := listener.Addr().String()
		require.NoError(t, listener.Close())
		cmd := exec.Command(program, append([]string{"-n", "-l", address}, args...)...)
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		require.NoError(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-ended
		})
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			select {
			case err := <-ended:
				ended <- err
				t.Logf("%s ended: %v\n%s", program, err, output.String())
				deadline = time.Time{}
				continue
			default:
			}
			if conn, err := net.Dial("tcp", address); err == nil {
				_ = conn.Close()
				return listener.Addr().(*net.TCPAddr).Port
			}
		}
	}
	t.Fatal("the server does not listen")
	return 0
}
