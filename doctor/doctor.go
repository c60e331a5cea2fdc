// Package doctor checks the configuration and the data of a Kit. It reports
// settings that are weak or contradict each other. It also reports problems in
// the data, such as hashes that no configured scheme can read.
//
//	for _, f := range doctor.Check(ctx, kit) {
//		slog.Log(ctx, f.Severity, f.Text, "code", f.Code, "fix", f.Fix)
//	}
//
// Call it when a program starts. It reports problems that [authkit.New]
// accepts.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	// timeLimit limits how long the data, or one part of the configuration, is
	// checked.
	timeLimit = 10 * time.Second

	longAccess  = 15 * time.Minute // lifetime of tokens that cannot be revoked one by one
	longSession = 30 * 24 * time.Hour
	leeway      = 30 * time.Second // difference between clocks that is no problem

	defaultBcryptCost = 12
)

// Check returns the problems of a Kit, the worst first. It judges the result of
// [authkit.Kit.Settings], and the data in the stores: the first 1,000 accounts,
// their hashes and their sessions. It does not know how old a key is, because
// keys have no date.
//
// Stores, throttles, authenticators, second factors and other parts of the
// configuration report their own problems if they have the method
//
//	Doctor(ctx context.Context) []authkit.Finding
//
// If a part wraps another one, it needs a method Unwrap() any that returns the
// other part, so that Check finds it.
//
// Check changes nothing. It reads data for at most 10 seconds, and waits as
// long for each part. A check that fails is reported as a finding. Do not show
// findings to users. They contain no secrets and no accounts, but may contain
// the errors of a store.
func Check(ctx context.Context, kit *authkit.Kit) []authkit.Finding {
	s := kit.Settings()
	found := slices.Concat(checkKeys(s), checkTokens(s), checkPasswords(s), checkFactors(s), checkStores(s), checkData(ctx, s))
	for _, part := range parts(s) {
		if p, ok := part.(reporter); ok {
			found = append(found, ask(ctx, p)...)
		}
	}
	slices.SortStableFunc(found, func(a, b authkit.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return found
}

// finding returns a Finding.
func finding(code string, severity slog.Level, text, fix string) authkit.Finding {
	return authkit.Finding{Code: code, Severity: severity, Text: text, Fix: fix}
}

// A reporter is a part that reports its own problems.
type reporter interface {
	Doctor(ctx context.Context) []authkit.Finding
}

// ask returns the findings of a part about itself.
func ask(ctx context.Context, p reporter) []authkit.Finding {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	return p.Doctor(ctx)
}

// parts returns the parts of a configuration without their wrappers, each once.
func parts(s authkit.Settings) []any {
	all := []any{s.Users, s.Sessions.Store, s.Tickets, s.Throttle}
	for _, p := range s.SecondFactors {
		all = append(all, p)
	}
	for _, p := range s.Authenticators {
		all = append(all, p)
	}
	for _, p := range s.UserData {
		all = append(all, p)
	}
	var found []any
	for _, p := range all {
		p = unwrap(p)
		if p != nil && !slices.ContainsFunc(found, func(other any) bool { return same(p, other) }) {
			found = append(found, p)
		}
	}
	return found
}

// unwrap returns a part without its wrappers.
func unwrap(part any) any {
	for {
		wrapper, ok := part.(interface{ Unwrap() any })
		if !ok {
			return part
		}
		part = wrapper.Unwrap()
	}
}

// same reports whether two values are equal. Values that cannot be compared are
// not.
func same(a, b any) bool { return reflect.TypeOf(a).Comparable() && a == b }

func checkKeys(s authkit.Settings) (found []authkit.Finding) {
	keys := s.Keys
	if len(keys) == 0 || !keys[0].Signs {
		found = append(found, finding("no_signing_key", slog.LevelError,
			"no key signs tokens, so no user can log in", "call KeyRing.Replace with a key first that has Private or Secret"))
	}
	if s.KeysExpired {
		keys = nil
	}
	if len(keys) == 0 {
		found = append(found, finding("no_keys", slog.LevelError,
			"there are no keys, or they have expired: every token is refused", "call KeyRing.Replace, or fix the KeySource"))
	}
	for i, key := range keys {
		if !symmetric(key) || key.SecretBits >= 80 {
			continue
		}
		severity := slog.LevelWarn
		if key.SecretBits < 50 {
			severity = slog.LevelError
		}
		found = append(found, finding("weak_secret", severity,
			fmt.Sprintf("the secret of key %d seems to hold about %.0f random bits: an attacker with one token can search for it, and then sign tokens", i+1, key.SecretBits),
			"make a new one with: openssl rand -hex 32; and rotate to it"))
	}
	if n := len(keys); n > 2 {
		found = append(found, finding("many_keys", slog.LevelInfo,
			fmt.Sprintf("%d keys verify tokens; a rotation needs two", n),
			fmt.Sprintf("remove keys that have not signed a token for %v", s.Tokens.Lifetime)))
	}
	return found
}

// symmetric reports whether a key verifies with a secret.
func symmetric(key authkit.KeyInfo) bool {
	return slices.Contains([]authkit.Algorithm{authkit.HS256, authkit.HS384, authkit.HS512}, key.Algorithm)
}

func checkTokens(s authkit.Settings) (found []authkit.Finding) {
	if s.Sessions.Store == nil {
		found = append(found, finding("sessions_off", slog.LevelInfo,
			"sessions are off: users cannot list or end logins, and must log in again when the token expires",
			"set Config.Sessions.Store"))
		if life := s.Tokens.Lifetime; life > longAccess {
			found = append(found, finding("long_access_tokens", slog.LevelWarn,
				fmt.Sprintf("access tokens are valid for %v, and without sessions a stolen one can only be revoked with all others of its user", life),
				fmt.Sprintf("set Config.Sessions.Store, or Config.Tokens.Lifetime to %v or less", longAccess)))
		}
	} else if life := s.Sessions.AbsoluteTimeout; life > longSession {
		found = append(found, finding("long_sessions", slog.LevelInfo,
			fmt.Sprintf("a session lasts up to %v without a new login; NIST SP 800-63B asks for one after %v", life, longSession),
			"set Config.Sessions.AbsoluteTimeout to 0, unless this is intended"))
	}
	if len(s.Keys) > 0 && !symmetric(s.Keys[0]) && s.Tokens.Audience == "" {
		found = append(found, finding("no_audience", slog.LevelWarn,
			"other services verify the tokens, but no audience is set: a service that receives a token can use it at every other one",
			"set Config.Tokens.Audience, here and in the services that verify"))
	}
	if s.EmailSubject {
		found = append(found, finding("email_subject", slog.LevelInfo,
			"every token contains the e-mail address of its user in plain text", "set Config.EmailSubject to false once no client needs it"))
	}
	return found
}

func checkPasswords(s authkit.Settings) (found []authkit.Finding) {
	found = checkHasher(s)
	if s.Passwords.Check == nil {
		found = append(found, finding("unchecked_passwords", slog.LevelWarn,
			"new passwords are not compared with known ones (NIST SP 800-63B section 3.1.1.2)", "set Config.Passwords.Check"))
	}
	if n := s.Passwords.MinLength; n < 15 {
		found = append(found, finding("short_passwords", slog.LevelInfo,
			fmt.Sprintf("passwords may have %d characters; NIST SP 800-63B asks for 15 if the password is the only factor", n),
			"set Config.Passwords.MinLength to 15, unless every user has a second factor"))
	}
	if s.Throttle == nil {
		found = append(found, finding("no_throttle", slog.LevelWarn,
			"only the cost of a hash limits how fast passwords can be guessed", "set Config.Throttle, for example to one of package throttle"))
	}
	found = append(found, checkHashes(s)...)
	if s.Roles == nil {
		found = append(found, finding("no_role_table", slog.LevelInfo,
			"there is no role table, so a misspelt role is accepted as another role", "set Config.Roles"))
	}
	return found
}

// checkHashes compares the number of hashes that can run at the same time with the processors
// of the Go scheduler and the cores of the machine.
func checkHashes(s authkit.Settings) []authkit.Finding {
	hashes, procs, cores := s.Passwords.MaxConcurrentHashes, runtime.GOMAXPROCS(0), runtime.NumCPU()
	switch {
	case hashes >= procs && procs == 1:
		return []authkit.Finding{finding("hashes_take_all", slog.LevelWarn,
			"a hash takes the only processor of the Go scheduler, so many logins at once delay all other requests",
			"set GOMAXPROCS to 2 in the environment")}
	case hashes >= procs:
		return []authkit.Finding{finding("hashes_take_all", slog.LevelWarn,
			fmt.Sprintf("%d hashes can run at the same time on %d processors of the Go scheduler, so many logins at once delay all other requests", hashes, procs),
			"set Config.Passwords.MaxConcurrentHashes to 0, for at least one less")}
	case hashes == procs-1 && procs == cores:
		// GOMAXPROCS is lower than the cores if a quota limits the process. There, hashes on
		// all cores would use the quota up.
		return []authkit.Finding{finding("hashes_leave_a_core", slog.LevelInfo,
			fmt.Sprintf("%d hashes can run at the same time on %d cores, so one core computes no hashes however many users log in", hashes, cores),
			fmt.Sprintf("set GOMAXPROCS to %d in the environment, unless a CPU quota limits the process", cores+1))}
	}
	return nil
}

// checkHasher judges a hash that the configured Hasher made, because the
// program may have its own Hasher.
func checkHasher(s authkit.Settings) []authkit.Finding {
	weaker := func(than authkit.Hasher) bool {
		due, err := than.NeedsRehash(s.SampleHash)
		return err == nil && due
	}
	switch {
	case weaker(authkit.Bcrypt{Cost: 10}), weaker(authkit.PBKDF2SHA256{}), lowArgon2(s.SampleHash):
		return []authkit.Finding{finding("low_cost", slog.LevelError,
			"new hashes are so cheap that an attacker who steals them finds most passwords: "+s.HasherName,
			"remove the InsecureLow... field from Config.Passwords.Hasher; it is for tests")}
	case weaker(authkit.Bcrypt{}):
		return []authkit.Finding{finding("low_cost", slog.LevelWarn,
			"new hashes are cheaper than the default: "+s.HasherName,
			fmt.Sprintf("set the Cost of Bcrypt to 0, for %d; each step doubles the cost of a guess", defaultBcryptCost))}
	}
	known := authkit.Schemes(authkit.Bcrypt{}, authkit.PBKDF2SHA256{}, authkit.Argon2id{})
	if _, err := known.NeedsRehash(s.SampleHash); err != nil {
		return []authkit.Finding{finding("other_hasher", slog.LevelInfo,
			"new hashes are of a scheme that cannot be checked: "+s.HasherName, "check its cost")}
	}
	return nil
}

// lowArgon2 reports whether a hash is an Argon2id hash with less memory, or
// fewer passes for its memory, than the weakest parameters of OWASP.
func lowArgon2(h authkit.PasswordHash) bool {
	const minMemory, minWork = 7 << 10, 5 * 7 << 10 // KiB, and KiB written over all passes
	var version, memory, passes int
	n, _ := fmt.Sscanf(string(h), "$argon2id$v=%d$m=%d,t=%d,", &version, &memory, &passes)
	return n == 3 && (memory < minMemory || memory*passes < minWork)
}

func checkFactors(s authkit.Settings) (found []authkit.Finding) {
	if len(s.SecondFactors) > 0 && s.Throttle == nil {
		found = append(found, finding("unthrottled_factors", slog.LevelError,
			"second factors are not throttled: an attacker who has a password can guess codes, five with each login", "set Config.Throttle, for example to one of package throttle"))
	}
	return found
}

func checkStores(s authkit.Settings) (found []authkit.Finding) {
	const database = "set it to a store on a database, such as that of package sqlstore"
	users, sessions, tickets := unwrap(s.Users), unwrap(s.Sessions.Store), unwrap(s.Tickets)
	memory := inMemory(users)
	if memory {
		found = append(found, finding("memory_store", slog.LevelWarn,
			"accounts are kept in memory: they are lost when the process ends, and every instance has its own", "Config.Users: "+database))
	}
	switch {
	case memory:
	case inMemory(tickets):
		found = append(found, finding("memory_tickets", slog.LevelWarn,
			"pending logins are kept in memory: they are lost when the process ends, and fail on another instance", "Config.Tickets: "+database))
	case tickets == nil:
		found = append(found, finding("no_tickets", slog.LevelInfo,
			"there is no store for tickets, which second factors and other features need", "Config.Tickets: "+database))
	}
	switch {
	case sessions == nil:
	case inMemory(sessions) && !memory:
		found = append(found, finding("memory_sessions", slog.LevelWarn,
			"sessions are kept in memory: a restart logs out all users, and every instance has its own", "Config.Sessions.Store: "+database))
	case memory && !inMemory(sessions):
		found = append(found, finding("sessions_outlive_accounts", slog.LevelError,
			"accounts are kept in memory and sessions are not: after a restart, sessions have no account", "Config.Users: "+database))
	case reflect.TypeOf(users) != reflect.TypeOf(sessions):
		found = append(found, finding("stores_apart", slog.LevelInfo,
			fmt.Sprintf("accounts are in a %T and sessions in a %T: ending a login changes both, and a backup of one may not match the other", users, sessions),
			"after you restore one of them, end all sessions"))
	}
	return found
}

// inMemory reports whether a store is a MemoryStore.
func inMemory(store any) bool {
	_, ok := store.(*authkit.MemoryStore)
	return ok
}
