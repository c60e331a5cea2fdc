package main

import (
	"bytes"
	"cmp"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/examples/demo/internal/apidocs"
	"github.com/authkit-go/authkit/oidclogin"
	"github.com/authkit-go/authkit/sqlstore"
)

// A config holds the checked values of the flags and the environment.
type config struct {
	addr         string
	secret       []byte
	randomSecret bool // whether it was generated because SECRET_KEY is not set
	cost         int
	usersFile    string
	generateHash bool
	redocFile    string
	certFile     string // with keyFile, for https
	keyFile      string
	hsts         bool
	db           string   // an address for openSQL, or inMemory
	redis        string   // none if empty
	corsOrigins  []string // other origins whose pages may call this service
	metricsAddr  string   // an address only for /metrics; none if empty
	baseURL      string   // of the links in mails; the address of the server if empty
	smtp         string   // the server for mails; they go to the log if empty
	providers    []oidclogin.Provider
	throttle     string         // on, accounts or off
	proxies      []netip.Prefix // the proxies whose X-Forwarded-For is trusted
	proxySocket  bool           // whether the peer of a Unix socket is such a proxy
	printOnly    bool

	log *slog.Logger

	// Tests use a lower cost than is safe, and accounts with matching hashes.
	hasher   authkit.Hasher
	mailer   account.Mailer
	accounts []authkit.StoredUser
}

const (
	unixPrefix     = "unix:" // of an address that is the path of a socket
	minSecretBytes = 32
	minCost        = 10
	maxCost        = 14
)

// environment returns a function that looks settings up in the environment of
// the process, and then in a .env file.
func environment(dotenv map[string]string) func(name string) (value string, ok bool) {
	return func(name string) (string, bool) {
		if value, ok := os.LookupEnv(name); ok {
			return value, true
		}
		value, ok := dotenv[name]
		return value, ok
	}
}

// loadConfig parses flags, whose defaults come from the environment. It prints
// the usage to help if requested. An empty setting counts as unset, except for
// the secret, where it indicates a broken deployment.
func loadConfig(args []string, lookup func(string) (string, bool), help io.Writer) (config, error) {
	env := func(name, otherwise string) string {
		value, _ := lookup(name)
		return cmp.Or(value, otherwise)
	}
	cost, err := strconv.Atoi(env("BCRYPT_COST", "12"))
	if err != nil {
		return config{}, fmt.Errorf("BCRYPT_COST is not a number; use %d to %d", minCost, maxCost)
	}

	var cfg config
	var noGenerateHash bool
	var origins, proxies, google, github, generic string
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.StringVar(&cfg.addr, "addr", env("ADDR", "127.0.0.1:8000"), "`address` to listen on, or unix:PATH; port 0 picks one (ADDR)")
	flags.IntVar(&cfg.cost, "cost", cost, "bcrypt `cost`, 10 to 14 (BCRYPT_COST)")
	flags.StringVar(&cfg.usersFile, "users", env("USERS_FILE", ""), "JSON `file` of accounts to load instead of the two of the demo (USERS_FILE)")
	flags.BoolVar(&noGenerateHash, "no-generate-hash", false, "leave /generate-hash/ out")
	flags.StringVar(&cfg.throttle, "throttle", env("THROTTLE", throttleOn), "`limits` on guessing: on, accounts (no limits by address) or off (THROTTLE)")
	flags.StringVar(&proxies, "trusted-proxies", env("TRUSTED_PROXIES", ""), "comma-separated `networks` of the proxies in front, which set X-Forwarded-For; unix for one that connects over the socket of -addr (TRUSTED_PROXIES)")
	flags.StringVar(&cfg.redocFile, "redoc-js", "", "`file` with ReDoc's bundle, to serve to /redoc in place of the copy on the CDN")
	flags.StringVar(&cfg.db, "db", env("DATABASE_URL", inMemory), "`database`: memory:, sqlite:FILE, postgres://… or mysql://… (DATABASE_URL)")
	flags.StringVar(&cfg.redis, "redis", env("REDIS_URL", ""), "`address` of Redis, such as redis://127.0.0.1:6379, to keep sessions and limits there (REDIS_URL)")
	flags.StringVar(&cfg.certFile, "tls-cert", env("TLS_CERT", ""), "PEM `file` with the certificate chain: serve https, with -tls-key (TLS_CERT)")
	flags.StringVar(&cfg.keyFile, "tls-key", env("TLS_KEY", ""), "PEM `file` with the key of the certificate (TLS_KEY)")
	flags.BoolVar(&cfg.hsts, "hsts", false, "tell browsers to use https alone for a year; once every name of the host has it")
	flags.StringVar(&origins, "cors", env("CORS_ORIGINS", ""), "comma-separated `origins` whose pages may call this service, such as https://app.example.com (CORS_ORIGINS)")
	flags.StringVar(&cfg.metricsAddr, "metrics-addr", env("METRICS_ADDR", ""), "loopback `address` that serves /metrics without a token, such as 127.0.0.1:9464 (METRICS_ADDR)")
	flags.StringVar(&cfg.baseURL, "base-url", env("BASE_URL", ""), "`URL` of this service for links in mails, such as https://demo.example.com (BASE_URL)")
	flags.StringVar(&cfg.smtp, "smtp", env("SMTP_URL", ""), "`URL` of the server that sends mails, such as smtps://user:password@smtp.example.com?from=demo@example.com; mails go to the log without one (SMTP_URL)")
	flags.StringVar(&google, "google", env("GOOGLE_CLIENT", ""), "`client` at Google, as ID:SECRET: turns on logins with Google, and session cookies (GOOGLE_CLIENT)")
	flags.StringVar(&github, "github", env("GITHUB_CLIENT", ""), "`client` at GitHub, as ID:SECRET (GITHUB_CLIENT)")
	flags.StringVar(&generic, "oidc", env("OIDC_PROVIDER", ""), "`issuer` of another provider with the client, such as https://ID:SECRET@idp.example.com (OIDC_PROVIDER)")
	flags.BoolVar(&cfg.printOnly, "config", false, "print the effective configuration, secrets masked, and exit")

	var usage bytes.Buffer
	flags.SetOutput(&usage)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, _ = usage.WriteTo(help)
		}
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q; see -help", flags.Arg(0))
	}
	if cfg.cost < minCost || cfg.cost > maxCost {
		return config{}, fmt.Errorf("a bcrypt cost of %d; use %d to %d", cfg.cost, minCost, maxCost)
	}
	cfg.generateHash = !noGenerateHash
	if cfg.db != inMemory {
		if _, _, _, err := sqlstore.ParseURL(cfg.db); err != nil {
			return config{}, fmt.Errorf("-db: use memory:, or a database: %w", err)
		}
	}
	if (cfg.certFile == "") != (cfg.keyFile == "") {
		return config{}, errors.New("-tls-cert and -tls-key belong together; give both")
	}
	if cfg.corsOrigins, err = parseOrigins(origins); err != nil {
		return config{}, err
	}
	if err := checkMetricsAddr(cfg.metricsAddr); err != nil {
		return config{}, err
	}
	if !slices.Contains([]string{throttleOn, throttleAccounts, throttleOff}, cfg.throttle) {
		return config{}, fmt.Errorf("-throttle %q; use on, accounts or off", cfg.throttle)
	}
	if cfg.proxies, cfg.proxySocket, err = parseProxies(proxies); err != nil {
		return config{}, err
	}
	if cfg.providers, err = parseProviders(google, github, generic); err != nil {
		return config{}, err
	}
	if _, path := network(cfg.addr); path == "" {
		return config{}, errors.New("-addr: unix: without a path; write it like unix:/run/demo.sock")
	}
	if listens, _ := network(cfg.addr); cfg.proxySocket && listens != "unix" {
		return config{}, errors.New("-trusted-proxies: unix is for a server that listens on a socket; set -addr to unix:PATH")
	}

	secret, ok := lookup("SECRET_KEY")
	switch {
	case !ok:
		secret, cfg.randomSecret = rand.Text()+rand.Text(), true
	case len(secret) < minSecretBytes:
		return config{}, fmt.Errorf("SECRET_KEY has %d bytes; use %d random ones or more, such as: openssl rand -hex 32",
			len(secret), minSecretBytes)
	}
	cfg.secret = []byte(secret)
	return cfg, nil
}

// key derives a key for one purpose from the secret, so that no two purposes share
// one.
func (c config) key(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, c.secret, nil, purpose, sha256.Size)
}

// print writes the effective configuration without the secret.
func (c config) print(w io.Writer) {
	secret := "******** (SECRET_KEY)"
	if c.randomSecret {
		secret = "******** (random at start)"
	}
	for _, setting := range []struct {
		name  string
		value any
	}{
		{"addr", c.addr},
		{"secret", secret},
		{"cost", c.cost},
		{"db", masked(c.db)},
		{"redis", cmp.Or(masked(c.redis), "none: sessions are in db")},
		{"sessions", fmt.Sprintf("end %d days after their last refresh, %d days after the login at most", days(sessionIdle), days(sessionAbsolute))},
		{"users", cmp.Or(c.usersFile, "the demo's two accounts")},
		{"generate-hash", c.generateHash},
		{"tls", cmp.Or(c.certFile, "off: put a proxy with https in front")},
		{"hsts", c.hsts},
		{"cors", cmp.Or(strings.Join(c.corsOrigins, ", "), "off")},
		{"throttle", c.throttle},
		{"proxies", proxyNames(c.proxies, c.proxySocket)},
		{"metrics-addr", cmp.Or(c.metricsAddr, "none: /metrics, for administrators")},
		{"base-url", cmp.Or(c.baseURL, "the address of the server")},
		{"smtp", cmp.Or(masked(c.smtp), "none: mails go to the log")},
		{"providers", cmp.Or(providerNames(c.providers), "none")},
		{"redoc-js", cmp.Or(c.redocFile, apidocs.RedocAddress)},
	} {
		fmt.Fprintf(w, "%-14s %v\n", setting.name, setting.value)
	}
}

// masked returns an address without its password.
func masked(address string) string {
	if scheme, rest, ok := strings.Cut(address, "://"); ok {
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			return scheme + "://********@" + rest[at+1:]
		}
	}
	return address
}

func days(d time.Duration) int { return int(d / (24 * time.Hour)) }
