package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// maxSkew is the largest difference between the clocks of server and program
// that is no problem.
const maxSkew = 5 * time.Second

// Check checks the configuration of the server. It returns an error that joins
// all problems, or the error of the check. Call it when a program starts, and
// log the error. Do not stop the program: some hosted services cannot be
// configured, and a store works on them until they lose data.
//
// Check reports a replica, a maxmemory-policy other than noeviction, an
// append-only file that is off, a server that cannot write to its disk, and a
// clock that differs from the program's.
func (s *Store) Check(ctx context.Context) error { return s.check(ctx, sessionSettings) }

// Doctor returns the problems of [Store.Check] as findings. Package doctor
// calls it.
func (s *Store) Doctor(ctx context.Context) []authkit.Finding {
	return s.doctor(ctx, sessionSettings)
}

// Check is like [Store.Check] for a throttle. It does not require an
// append-only file, because a throttle can lose data.
func (t *Throttle) Check(ctx context.Context) error { return t.check(ctx, throttleSettings) }

// Doctor returns the problems of [Throttle.Check] as findings. The Doctor of
// package throttle calls it.
func (t *Throttle) Doctor(ctx context.Context) []authkit.Finding {
	return t.doctor(ctx, throttleSettings)
}

// A setting is a line of INFO with the value that it must have, and the harm if
// it has another.
type setting struct {
	name, want string
	severity   slog.Level
	harm, fix  string
}

var sessionSettings = []setting{
	{"role", "master", slog.LevelError, "it returns sessions that have ended", "connect to the master"},
	{"maxmemory_policy", "noeviction", slog.LevelError, "sessions, or the sets that find them to end them, vanish when memory is short", "set maxmemory-policy noeviction"},
	{"aof_enabled", "1", slog.LevelError, "a restart undoes logouts, and loses logins, since the last snapshot", "set appendonly yes"},
	{"aof_last_write_status", "ok", slog.LevelError, "all changes are refused", "look at its disk"},
	{"rdb_last_bgsave_status", "ok", slog.LevelError, "all changes are refused", "look at its disk"},
}

var throttleSettings = []setting{
	{"role", "master", slog.LevelError, "no attempt can be counted there", "connect to the master"},
	{"maxmemory_policy", "noeviction", slog.LevelWarn, "counters vanish when memory is short, and an attacker can cause that", "set maxmemory-policy noeviction"},
	{"aof_last_write_status", "ok", slog.LevelError, "no attempt can be counted", "look at its disk"},
	{"rdb_last_bgsave_status", "ok", slog.LevelError, "no attempt can be counted", "look at its disk"},
}

// A fault is a setting with the wrong value, or the clock.
type fault struct {
	setting
	code, is string
}

func (s *server) check(ctx context.Context, settings []setting) error {
	faults, err := s.faults(ctx, settings)
	errs := []error{err}
	for _, f := range faults {
		errs = append(errs, fmt.Errorf("redisstore: the server's %s is %q: %s; %s", f.name, f.is, f.harm, f.fix))
	}
	return errors.Join(errs...)
}

func (s *server) doctor(ctx context.Context, settings []setting) (found []authkit.Finding) {
	faults, err := s.faults(ctx, settings)
	if err != nil {
		return []authkit.Finding{{
			Code: "unavailable", Severity: slog.LevelError,
			Text: fmt.Sprintf("Redis cannot be checked: %v", err), Fix: "see that it is up",
		}}
	}
	for _, f := range faults {
		found = append(found, authkit.Finding{
			Code: f.code, Severity: f.severity,
			Text: fmt.Sprintf("the Redis server's %s is %q: %s", f.name, f.is, f.harm), Fix: f.fix,
		})
	}
	return found
}

// faults returns the problems of the server.
func (s *server) faults(ctx context.Context, settings []setting) (found []fault, err error) {
	before := time.Now()
	reply, err := s.run(ctx, s.info, []string{s.prefix})
	after := time.Now()
	texts, err := parseTexts(reply, err)
	if err == nil && len(texts) != 5 {
		err = errReply
	}
	if err != nil {
		return nil, failed(ctx, "Check", err)
	}
	is := make(map[string]string)
	for line := range strings.Lines(strings.Join(texts[:3], "\r\n")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		is[name] = value
	}
	for _, c := range settings {
		if is[c.name] != c.want {
			found = append(found, fault{c, "redis_" + c.name, is[c.name]})
		}
	}
	seconds, err1 := strconv.ParseInt(texts[3], 10, 64)
	micros, err2 := strconv.ParseInt(texts[4], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return nil, failed(ctx, "Check", errReply)
	}
	there := time.Unix(seconds, micros*int64(time.Microsecond))
	// The duration of the call is no skew.
	if skew := min(0, there.Sub(before)) + max(0, there.Sub(after)); skew.Abs() > maxSkew {
		found = append(found, fault{
			setting{"clock", "", slog.LevelWarn, "it is ahead of the clock here by that much, so one of the two is wrong",
				"run NTP on both machines; the store itself uses the clocks of the programs"},
			"clock_skew", skew.Round(time.Second).String(),
		})
	}
	return found, nil
}
