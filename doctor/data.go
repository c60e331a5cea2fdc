package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	maxAccounts = 1000
	pageSize    = 200

	// A proxy is suspected if this many users have sessions, all from one
	// address.
	manyUsers = 5
)

// stats are counts over the accounts that were read.
type stats struct {
	accounts, due, unreadable, badRoles, ahead int
	verified, unverified                       int // e-mail addresses
	sessions, expired, owners                  int
	addresses                                  map[string]int
}

// checkData reads the first accounts and their sessions.
func checkData(ctx context.Context, s authkit.Settings) []authkit.Finding {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	c := stats{addresses: map[string]int{}}
	var found []authkit.Finding
	if err := c.read(ctx, s); err != nil {
		found = append(found, finding("unavailable", slog.LevelError,
			fmt.Sprintf("only %d accounts could be read: %v", c.accounts, err), "check the store, and try again"))
	}
	return append(found, c.findings(s)...)
}

// read counts the accounts and their sessions.
func (c *stats) read(ctx context.Context, s authkit.Settings) error {
	after := ""
	for c.accounts < maxAccounts {
		page, err := s.Users.ListUsers(ctx, authkit.UserQuery{After: after, Limit: pageSize})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, u := range page {
			if err := c.readUser(ctx, s, u.ID); err != nil {
				return err
			}
		}
		after = page[len(page)-1].ID
	}
	return nil
}

func (c *stats) readUser(ctx context.Context, s authkit.Settings, id string) error {
	u, err := s.Users.UserByID(ctx, id)
	if errors.Is(err, authkit.ErrUserNotFound) { // deleted meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	c.accounts++
	now := time.Now()
	if soon := now.Add(leeway); u.CreatedAt.After(soon) || u.UpdatedAt.After(soon) || u.TokensValidAfter.After(soon) {
		c.ahead++
	}
	if slices.ContainsFunc(u.Roles, func(role string) bool { return !known(s.Roles, role) }) {
		c.badRoles++
	}
	if u.EmailVerifiedAt.IsZero() {
		c.unverified++
	} else {
		c.verified++
	}
	if u.PasswordHash != "" {
		if due, err := s.Passwords.Hasher.NeedsRehash(u.PasswordHash); err != nil {
			c.unreadable++
		} else if due {
			c.due++
		}
	}
	if s.Sessions.Store == nil {
		return nil
	}
	sessions, err := s.Sessions.Store.SessionsByUser(ctx, id)
	if err != nil {
		return err
	}
	c.owners += min(1, len(sessions))
	for _, session := range sessions {
		c.sessions++
		c.addresses[session.Address]++
		if session.ExpiresAt.Before(now.Add(-time.Hour)) {
			c.expired++
		}
		if session.LastUsedAt.After(now.Add(leeway)) {
			c.ahead++
		}
	}
	return nil
}

// known reports whether a role is in the table. Without a table it must be
// well-formed.
func known(table map[string][]string, role string) bool {
	if table != nil {
		_, ok := table[role]
		return ok
	}
	return role != "" && len(role) <= 64 && strings.Trim(role, "abcdefghijklmnopqrstuvwxyz0123456789:_-") == ""
}

// findings returns the problems that the counts show.
func (c *stats) findings(s authkit.Settings) (found []authkit.Finding) {
	of := fmt.Sprintf("of the first %d accounts", c.accounts)
	if c.unreadable > 0 {
		found = append(found, finding("unreadable_hashes", slog.LevelError,
			fmt.Sprintf("%s, %d have a password hash that Config.Passwords.Hasher cannot read: they cannot log in", of, c.unreadable),
			"add the scheme to Schemes, or set new passwords"))
	}
	if c.due > 0 {
		found = append(found, finding("hashes_due", slog.LevelWarn,
			fmt.Sprintf("%s, %d have a password hash of an older scheme or a lower cost; the time of a failed login shows which", of, c.due),
			"each is replaced when its owner logs in; count all with: authkit rehash-report; remove those that are left after a year"))
	}
	if c.badRoles > 0 {
		found = append(found, finding("unknown_roles", slog.LevelWarn,
			fmt.Sprintf("%s, %d have a role that is malformed or not in Config.Roles", of, c.badRoles),
			"add the role to the table, or remove it from the accounts"))
	}
	if !s.RequireVerifiedEmail && c.verified > 0 && c.unverified > 0 {
		found = append(found, finding("unverified_logins", slog.LevelInfo,
			fmt.Sprintf("%s, %d have verified their e-mail address, and %d can log in without", of, c.verified, c.unverified),
			"set Config.RequireVerifiedEmail once the addresses of old accounts are verified"))
	}
	if c.ahead > 0 {
		found = append(found, finding("clock_skew", slog.LevelError,
			fmt.Sprintf("%d accounts or sessions have a time more than %v in the future", c.ahead, leeway),
			"check the clocks of all instances; run NTP"))
	}
	if c.expired > 0 {
		found = append(found, finding("expired_sessions", slog.LevelWarn,
			fmt.Sprintf("%s, there are %d sessions that expired more than an hour ago", of, c.expired), "call Kit.Run in an instance"))
	}
	if c.owners >= manyUsers && len(c.addresses) == 1 && c.addresses[""] == 0 {
		for address := range c.addresses {
			found = append(found, finding("one_address", slog.LevelWarn,
				fmt.Sprintf("all %d sessions of %d users come from the address %q, which may be that of a proxy", c.sessions, c.owners, address),
				"put TrustProxies of package throttle around the handlers, or WithClient, with the addresses of your own proxies"))
		}
	}
	return found
}
