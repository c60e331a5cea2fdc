package smtpmail

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/authkit-go/authkit"
)

const (
	startTLSPort    = 587 // RFC 6409
	implicitTLSPort = 465 // RFC 8314
	defaultTimeout  = 30 * time.Second
)

// A Config configures a [Mailer]. Host and From are required.
type Config struct {
	// Host is the name or the IP address of the server.
	Host string

	// Port is the port of the server. If zero, it is 587, or 465 with ImplicitTLS.
	Port int

	// Username and Password log in to the server. If Username is empty, there is no login.
	Username string
	Password string `json:"-"`

	// From is the sender of all messages: an address, or a name and an address as in
	// "Example <no-reply@example.com>".
	From string

	// ImplicitTLS starts TLS when the connection begins. Otherwise the connection is
	// encrypted with STARTTLS, and a server without it is refused. Port 465 implies
	// ImplicitTLS.
	ImplicitTLS bool

	// TLSConfig is for servers with certificates of a private authority. If nil, the
	// authorities of the system are trusted. If its ServerName is empty, it is Host.
	TLSConfig *tls.Config

	// InsecureNoTLS sends messages and the password without encryption. It is for a server
	// on this machine: Host is a loopback address or "localhost".
	InsecureNoTLS bool

	// Timeout limits each call of Send. If zero, it is 30 seconds.
	Timeout time.Duration
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so that logging
// a Config does not reveal the password.
func (Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("smtpmail.Config{[redacted]}")) }

// ParseURL returns the Config that a URL describes, for flags and environment variables:
//
//	smtp://user:password@smtp.example.com?from=no-reply@example.com        STARTTLS, port 587
//	smtps://user:password@smtp.example.com?from=no-reply@example.com       TLS, port 465
//	smtp://localhost:1025?from=no-reply@example.com&insecure_no_tls=true   no encryption
//
// Special characters in the name, the password and the sender are percent-encoded. The
// error never contains the URL, which holds a password. [New] checks the values.
func ParseURL(text string) (Config, error) {
	u, err := url.Parse(text)
	if err != nil { // its text is the URL
		return Config{}, errors.New("smtpmail: not a URL; percent-encode special characters of the password")
	}
	query, err := url.ParseQuery(u.RawQuery)
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("smtpmail: the URL: "+format, args...))
	}
	if err != nil {
		fault("the part after the question mark is malformed")
	}
	if u.Scheme != "smtp" && u.Scheme != "smtps" {
		fault("the scheme is not smtp or smtps")
	}
	if u.Opaque != "" || u.Path != "" && u.Path != "/" || u.Fragment != "" {
		fault("it has more than a host and a port; percent-encode special characters of the password")
	}
	cfg := Config{Host: u.Hostname(), Username: u.User.Username(), ImplicitTLS: u.Scheme == "smtps", From: query.Get("from")}
	cfg.Password, _ = u.User.Password()
	if port := u.Port(); port != "" {
		if cfg.Port, err = strconv.Atoi(port); err != nil || cfg.Port == 0 {
			fault("the port is not 1 to 65535")
		}
	}
	switch query.Get("insecure_no_tls") {
	case "":
	case "true":
		cfg.InsecureNoTLS = true
	default:
		fault("insecure_no_tls is not true; leave it out")
	}
	for name, values := range query {
		if name != "from" && name != "insecure_no_tls" {
			fault("a parameter other than from and insecure_no_tls; percent-encode & and +")
		}
		if len(values) > 1 {
			fault("a parameter is there twice")
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// check returns the sender and the Config with its defaults. The error joins all problems.
func (cfg Config) check() (*mail.Address, Config, error) {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("smtpmail: Config."+format, args...))
	}
	cfg.ImplicitTLS = cfg.ImplicitTLS || cfg.Port == implicitTLSPort
	port := startTLSPort
	if cfg.ImplicitTLS {
		port = implicitTLSPort
	}
	cfg.Port = cmp.Or(cfg.Port, port)
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	if !validHost(cfg.Host) {
		fault("Host: not a host name or an IP address")
	}
	if cfg.Port < 0 || cfg.Port > 65535 {
		fault("Port: %d; use 1 to 65535, or 0 for %d", cfg.Port, port)
	}
	if cfg.Timeout < 0 {
		fault("Timeout: %v; use a positive one, or 0 for %v", cfg.Timeout, defaultTimeout)
	}
	if hasControl(cfg.Username) || hasControl(cfg.Password) {
		fault("Username or Password: control characters")
	}
	if cfg.Username == "" && cfg.Password != "" {
		fault("Password: set without Username; set both")
	}
	if cfg.InsecureNoTLS {
		if !isLoopback(cfg.Host) {
			fault("InsecureNoTLS: the host is not this machine; use TLS")
		}
		if cfg.ImplicitTLS || cfg.TLSConfig != nil {
			fault("InsecureNoTLS: set along with ImplicitTLS, port 465 or TLSConfig; set one of them")
		}
	}
	from, err := parseFrom(cfg.From)
	if err != nil {
		fault("From: %w", err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, Config{}, err
	}
	if cfg.TLSConfig == nil {
		cfg.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	} else {
		cfg.TLSConfig = cfg.TLSConfig.Clone()
		cfg.TLSConfig.MinVersion = max(cfg.TLSConfig.MinVersion, tls.VersionTLS12)
	}
	cfg.TLSConfig.ServerName = cmp.Or(cfg.TLSConfig.ServerName, cfg.Host)
	return from, cfg, nil
}

// parseFrom returns the sender of all messages.
func parseFrom(text string) (*mail.Address, error) {
	if hasControl(text) { // which the parser would take for folding white space
		return nil, errors.New("control characters")
	}
	from, err := mail.ParseAddress(text)
	if err != nil || hasControl(from.Name) {
		return nil, errors.New(`not an address, or a name and an address as in "Example <no-reply@example.com>"`)
	}
	if _, err := authkit.NormalizeEmail(from.Address); err != nil {
		return nil, err
	}
	return from, nil
}

// validHost reports whether a text can be a host name or an IP address.
func validHost(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-:_", r)
	})
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// hasControl reports whether a text has a control character or a line separator.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' })
}
