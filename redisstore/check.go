package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Check looks how the server is set up that has the store, and returns an error that joins
// what is to be mended, or says why it could not look. Call it when a program starts,
// and log what it says: some hosted services cannot be set up otherwise, and a store works on them
// until they lose something.
//
// It finds a replica, a maxmemory-policy other than noeviction, an append-only file that is
// off, and a server that cannot write to its disk.
func (s *Sessions) Check(ctx context.Context) error {
	reply, err := s.run(ctx, s.scripts.info, []string{s.revokedKey()})
	sections, err := parseTexts(reply, err)
	if err != nil {
		return failed(ctx, "Check", err)
	}
	is := make(map[string]string)
	for line := range strings.Lines(strings.Join(sections, "\r\n")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		is[name] = value
	}
	var errs []error
	for _, c := range []struct{ name, want, mend string }{
		{"role", "master", "it shows sessions that have ended; connect to the master"},
		{"maxmemory_policy", "noeviction", "sessions, or what finds them to end them, vanish when memory is short; set maxmemory-policy noeviction"},
		{"aof_enabled", "1", "a restart takes back logouts, and loses logins, since the last snapshot; set appendonly yes"},
		{"aof_last_write_status", "ok", "nothing is accepted that has to be written; look at its disk"},
		{"rdb_last_bgsave_status", "ok", "nothing is accepted that has to be written; look at its disk"},
	} {
		if is[c.name] != c.want {
			errs = append(errs, fmt.Errorf("redisstore: the server's %s is %q: %s", c.name, is[c.name], c.mend))
		}
	}
	return errors.Join(errs...)
}
