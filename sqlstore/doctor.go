package sqlstore

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// maxSkew is how far the clock of a database may be from the program's before it is a finding.
const maxSkew = 5 * time.Second

// Doctor reports migrations that are pending, and a database whose clock is not the program's.
// [authkit.Kit.Doctor] calls it.
func (s *Store) Doctor(ctx context.Context) []authkit.Finding {
	unavailable := func(err error) []authkit.Finding {
		return []authkit.Finding{{
			Code: "unavailable", Severity: slog.LevelError,
			Text: fmt.Sprintf("the database cannot be asked about itself: %v", err),
			Mend: "see that it is up, and that its address and the rights of its user are right",
		}}
	}
	var found []authkit.Finding
	pending, err := s.Pending(ctx)
	if err != nil {
		return unavailable(err)
	}
	if len(pending) > 0 {
		found = append(found, authkit.Finding{
			Code: "pending_migrations", Severity: slog.LevelError,
			Text: fmt.Sprintf("the database lacks %s", strings.Join(pending, ", ")),
			Mend: "call Store.Migrate, or run: authkit migrate",
		})
	}
	skew, err := s.skew(ctx)
	if err != nil {
		return append(found, unavailable(err)...)
	}
	if skew.Abs() > maxSkew {
		found = append(found, authkit.Finding{
			Code: "clock_skew", Severity: slog.LevelWarn,
			Text: fmt.Sprintf("the clock of the database is %v from the one here, so that one of the two is wrong", skew.Round(time.Second)),
			Mend: "run NTP on both machines; the store itself goes by the clocks of the programs",
		})
	}
	return found
}

// skew returns how far the clock of the database is ahead, as far as it cannot be the time that
// it took to ask. SQLite has no other clock than the program's.
func (s *Store) skew(ctx context.Context) (time.Duration, error) {
	query := map[Dialect]string{
		Postgres: `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)`,
		MySQL:    `SELECT UNIX_TIMESTAMP() * 1000000`,
	}[s.d]
	if query == "" {
		return 0, nil
	}
	var skew time.Duration
	err := s.single(ctx, func(w work) error {
		before := time.Now()
		return w.query(ctx, func(scan func(...any) error) error {
			var micros int64
			if err := scan(&micros); err != nil {
				return err
			}
			there, after := time.UnixMicro(micros), time.Now()
			switch {
			case there.After(after):
				skew = there.Sub(after)
			case there.Before(before):
				skew = there.Sub(before)
			default:
				skew = 0
			}
			return nil
		}, query)
	})
	return skew, err
}
