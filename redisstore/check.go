package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/authkit-go/authkit"
)

// Check looks how the server is set up that has the store, and returns an error that joins
// what is to be mended, or says why it could not look. Call it when a program starts,
// and log what it says: some hosted services cannot be set up otherwise, and a store works on them
// until they lose something.
//
// It finds a replica, a maxmemory-policy other than noeviction, an append-only file that is
// off, and a server that cannot write to its disk.
func (s *Sessions) Check(ctx context.Context) error {
	faults, err := s.faults(ctx)
	errs := []error{err}
	for _, f := range faults {
		errs = append(errs, fmt.Errorf("redisstore: the server's %s is %q: %s; %s", f.name, f.is, f.harm, f.mend))
	}
	return errors.Join(errs...)
}

// Doctor returns what [Sessions.Check] does, a finding each. [authkit.Kit.Doctor] calls it.
func (s *Sessions) Doctor(ctx context.Context) []authkit.Finding {
	faults, err := s.faults(ctx)
	if err != nil {
		return []authkit.Finding{{
			Code: "unavailable", Severity: slog.LevelError,
			Text: fmt.Sprintf("Redis cannot be asked about itself: %v", err), Mend: "see that it is up",
		}}
	}
	var found []authkit.Finding
	for _, f := range faults {
		found = append(found, authkit.Finding{
			Code: "redis_" + f.name, Severity: slog.LevelError,
			Text: fmt.Sprintf("the Redis server's %s is %q: %s", f.name, f.is, f.harm), Mend: f.mend,
		})
	}
	return found
}

// A fault is a setting of the server that loses sessions, or the ends of them.
type fault struct{ name, is, harm, mend string }

// faults asks the server about itself.
func (s *Sessions) faults(ctx context.Context) (found []fault, err error) {
	reply, err := s.run(ctx, s.scripts.info, []string{s.revokedKey()})
	sections, err := parseTexts(reply, err)
	if err != nil {
		return nil, failed(ctx, "Check", err)
	}
	is := make(map[string]string)
	for line := range strings.Lines(strings.Join(sections, "\r\n")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		is[name] = value
	}
	for _, c := range []struct{ name, want, harm, mend string }{
		{"role", "master", "it shows sessions that have ended", "connect to the master"},
		{"maxmemory_policy", "noeviction", "sessions, or what finds them to end them, vanish when memory is short", "set maxmemory-policy noeviction"},
		{"aof_enabled", "1", "a restart takes back logouts, and loses logins, since the last snapshot", "set appendonly yes"},
		{"aof_last_write_status", "ok", "nothing is accepted that has to be written", "look at its disk"},
		{"rdb_last_bgsave_status", "ok", "nothing is accepted that has to be written", "look at its disk"},
	} {
		if is[c.name] != c.want {
			found = append(found, fault{c.name, is[c.name], c.harm, c.mend})
		}
	}
	return found, nil
}
