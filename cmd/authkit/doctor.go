package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/doctor"
)

// visibleCodes are the codes of problems that show in the stores. Other codes
// depend on the authkit.Config of the service, which the command does not have.
var visibleCodes = []string{
	"unavailable", "pending_migrations", "clock_skew",
	"unreadable_hashes", "hashes_due", "expired_sessions", "one_address", "unknown_roles",
}

// oldKey is the age at which a key should be replaced.
const oldKey = 365 * 24 * time.Hour

func checkAll(ctx context.Context, c *call) error {
	c.sessionFlags()
	c.hasherFlags()
	keyFile := c.flags.String("key", "", "`file` of the signing key, as rotate-key writes it; otherwise SECRET_KEY is checked, if it is set")
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	store, err := c.connect(ctx, false)
	if err != nil {
		return err
	}
	sessions, err := c.sessions(ctx, store)
	if err != nil {
		return err
	}
	cfg := authkit.Config{Users: store, Sessions: authkit.SessionConfig{Store: sessions}}
	found, err := c.checkKey(*keyFile, &cfg)
	if err != nil {
		return err
	}
	codes := visibleCodes
	if len(cfg.Tokens.Keys) > 0 {
		codes = append(slices.Clone(codes), "weak_secret")
	}
	kit, err := c.kit(cfg)
	if err != nil {
		return err
	}
	pending := false
	for _, f := range doctor.Check(ctx, kit) {
		if slices.Contains(codes, f.Code) || strings.HasPrefix(f.Code, "redis_") {
			found = append(found, f)
			pending = pending || f.Code == "pending_migrations"
		}
	}
	if pending { // it explains why accounts cannot be read
		found = slices.DeleteFunc(found, func(f authkit.Finding) bool { return f.Code == "unavailable" })
	}
	slices.SortStableFunc(found, func(a, b authkit.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	t, err := c.table("severity", "code", "text", "fix")
	if err != nil {
		return err
	}
	for _, f := range found {
		if err := t.row(f.Severity.String(), f.Code, f.Text, f.Fix); err != nil {
			return err
		}
	}
	fmt.Fprintln(c.stderr, "To check the configuration of a service, call doctor.Check in the service.")
	if len(found) > 0 && found[0].Severity >= slog.LevelWarn {
		return errFound
	}
	return nil
}

// checkKey checks the signing key, and puts it into the configuration if it is
// usable.
func (c *call) checkKey(file string, cfg *authkit.Config) (found []authkit.Finding, err error) {
	key := authkit.Key{Algorithm: authkit.HS256, Secret: []byte(c.env("SECRET_KEY"))}
	switch {
	case file != "":
		if key, err = readKey(file); err != nil {
			return nil, err
		}
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		if age := time.Since(info.ModTime()); age > oldKey {
			found = append(found, authkit.Finding{Code: "old_key", Severity: slog.LevelWarn,
				Text: fmt.Sprintf("the key in %s was written %d days ago", file, int(age/(24*time.Hour))), Fix: "run: authkit rotate-key"})
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 && os.PathSeparator == '/' && (key.Private != nil || key.Secret != nil) {
			found = append(found, authkit.Finding{Code: "open_key_file", Severity: slog.LevelError,
				Text: fmt.Sprintf("the key in %s is accessible to other users: its mode is %v", file, mode), Fix: "run: chmod 600; rotate the key if you do not trust them"})
		}
	case len(key.Secret) == 0:
		return nil, nil
	}
	if _, err := authkit.NewKeyRing(key); err != nil {
		_, why, _ := strings.Cut(err.Error(), "]: ")
		return append(found, authkit.Finding{Code: "refused_key", Severity: slog.LevelError,
			Text: "the library refuses the signing key: " + why, Fix: "create another with: authkit rotate-key"}), nil
	}
	cfg.Tokens.Keys = []authkit.Key{key}
	return found, nil
}
