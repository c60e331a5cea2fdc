package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"time"
)

// A Finding is something that [Kit.Doctor] would mend, or wants known.
type Finding struct {
	// Code names what was found, such as "weak_secret". It does not change with the
	// words; new versions may find more.
	Code string `json:"code"`

	// Severity is slog.LevelError for what is broken or open, slog.LevelWarn for what is
	// weaker than it should be, and slog.LevelInfo for what is a choice.
	Severity slog.Level `json:"severity"`

	Text string `json:"text"` // what was found
	Mend string `json:"mend"` // what to do about it
}

// String returns the finding as a line.
func (f Finding) String() string {
	return fmt.Sprintf("%v %s: %s; %s", f.Severity, f.Code, f.Text, f.Mend)
}

// A doctor is a store, or another part, that knows more about itself than its interface
// tells: that its clock is off, or that its schema is old.
type doctor interface {
	Doctor(ctx context.Context) []Finding
}

// Doctor looks for settings that are weak or at odds with each other, and for what in the
// stores shows that something is wrong; the worst is in front. None of it is a fault that
// [New] refuses. [Kit.Settings] is the policy that it judges.
//
// A store or a throttle is asked about itself if it has a method
// Doctor(context.Context) []Finding, as those of packages sqlstore and redisstore have; what
// wraps one shows it by a method Unwrap() any, as authotel does. The
// first 1,000 accounts and their sessions are looked at, for 10 seconds at most: hashes that
// are due are among the oldest. How old a key is, nobody knows: it has no date.
//
// It changes nothing, and is for operators: never serve it to users. Findings hold no secret
// and name no account, but what a store says of itself when it fails is in them. What could
// not be looked at is a finding, and so there is no error.
func (k *Kit) Doctor(ctx context.Context) []Finding {
	found := slices.Concat(
		k.examineKeys(), k.examineTokens(), k.examinePasswords(), k.examineStores(), k.examineData(ctx))
	for _, part := range k.parts() {
		if d, ok := part.(doctor); ok {
			found = append(found, consult(ctx, d)...)
		}
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return found
}

const (
	doctorAccounts = 1000
	doctorPage     = 200
	doctorTime     = 10 * time.Second

	longAccess = 15 * time.Minute // of a token that nobody can take back
)

// parts returns what the host plugged in, each once.
func (k *Kit) parts() []any {
	parts := []any{untimed(k.users)}
	if k.sessions != nil {
		if s := untimed(k.sessions.store); !same(s, parts[0]) {
			parts = append(parts, s)
		}
	}
	if k.throttle != nil {
		parts = append(parts, untimed(k.throttle))
	}
	return parts
}

// same reports whether two values are one.
func same(a, b any) bool {
	return reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}

// consult asks a part about itself.
func consult(ctx context.Context, d doctor) []Finding {
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	return d.Doctor(ctx)
}

func (k *Kit) examineKeys() (found []Finding) {
	s := k.verifier.keys.load()
	keys := s.accepted().keys
	if _, err := s.signing(); err != nil {
		found = append(found, Finding{"no_signing_key", slog.LevelError,
			"no key signs, so that nobody can log in", "call KeyRing.Replace with a key that has Private or Secret in front"})
	}
	if len(keys) == 0 {
		found = append(found, Finding{"no_keys", slog.LevelError,
			"no key verifies, or the ring has expired: every token is refused", "call KeyRing.Replace, and KeyRing.Expire with a later time"})
	}
	for i, b := range keys {
		if b.newMAC == nil || b.bits >= 80 {
			continue
		}
		severity := slog.LevelWarn
		if b.bits < 50 {
			severity = slog.LevelError
		}
		found = append(found, Finding{"weak_secret", severity,
			fmt.Sprintf("the secret of key %d holds about %.0f random bits, by its looks: whoever finds it by trying, from one token, can sign others", i+1, b.bits),
			"make a new one with: openssl rand -hex 32; and rotate to it"})
	}
	if n := len(keys); n > 2 {
		found = append(found, Finding{"many_keys", slog.LevelInfo,
			fmt.Sprintf("%d keys verify tokens, where a rotation needs two", n),
			fmt.Sprintf("remove those whose last token is older than %v", k.issuer.lifetime)})
	}
	return found
}

func (k *Kit) examineTokens() (found []Finding) {
	life := k.issuer.lifetime
	if s := k.sessions; s == nil {
		found = append(found, Finding{"sessions_off", slog.LevelInfo,
			"sessions are off: users cannot see or end single logins, and log in again when the token expires",
			"set Config.Sessions.Store"})
		if life > longAccess {
			found = append(found, Finding{"long_access_tokens", slog.LevelWarn,
				fmt.Sprintf("access tokens are good for %v, and without sessions a stolen one can be refused only along with all others of its user", life),
				fmt.Sprintf("set Config.Sessions.Store, or Config.Tokens.Lifetime to %v or less", longAccess)})
		}
	} else if s.absolute > defaultAbsolute {
		found = append(found, Finding{"long_sessions", slog.LevelInfo,
			fmt.Sprintf("a session lasts up to %v without a password; NIST SP 800-63B asks for one after %v", s.absolute, defaultAbsolute),
			"set Config.Sessions.Absolute to 0, unless that is meant"})
	}
	keys := k.verifier.keys.load().keys
	if len(keys) > 0 && keys[0].newMAC == nil && k.verifier.audience == "" {
		found = append(found, Finding{"no_audience", slog.LevelWarn,
			"the tokens are for others to verify, and name no audience: a service that is sent one can use it at every other",
			"set Config.Tokens.Audience, here and in the services that verify"})
	}
	if k.emailSubject {
		found = append(found, Finding{"email_subject", slog.LevelInfo,
			"every token holds the e-mail address of its user, for whoever sees it to read", "set Config.EmailSubject to false once no client needs it"})
	}
	return found
}

func (k *Kit) examinePasswords() (found []Finding) {
	// What Hash makes tells the truth, whatever Hasher the host has.
	weak := func(least Hasher) bool { due, err := least.NeedsRehash(k.dummy); return err == nil && due }
	argon, _, _, err := parseArgon2(string(k.dummy))
	lowArgon := err == nil && (argon.memory < minArgon2Memory || argon.memory*argon.time < minArgon2Work)
	switch {
	case weak(Bcrypt{Cost: minBcryptCost}), weak(PBKDF2SHA256{}), lowArgon:
		found = append(found, Finding{"low_cost", slog.LevelError,
			"new hashes cost so little that whoever steals them finds most passwords: " + describeHasher(k.hasher),
			"remove the InsecureLow... field from Config.Passwords.Hasher; it is for tests"})
	case weak(Bcrypt{}):
		found = append(found, Finding{"low_cost", slog.LevelWarn,
			"new hashes cost less than the default: " + describeHasher(k.hasher),
			fmt.Sprintf("set the Cost of Bcrypt to 0, for %d; each step doubles what a guess costs", defaultBcryptCost)})
	default:
		if _, err := Schemes(Bcrypt{}, PBKDF2SHA256{}, Argon2id{}).NeedsRehash(k.dummy); err != nil {
			found = append(found, Finding{"other_hasher", slog.LevelInfo,
				"new hashes are of a scheme that cannot be judged here: " + describeHasher(k.hasher), "see that its cost is right"})
		}
	}
	if k.check == nil {
		found = append(found, Finding{"unchecked_passwords", slog.LevelWarn,
			"new passwords are not looked up among those that are known to be used (NIST SP 800-63B section 3.1.1.2)", "set Config.Passwords.Check"})
	}
	if k.minPassword < 15 {
		found = append(found, Finding{"short_passwords", slog.LevelInfo,
			fmt.Sprintf("passwords may be as short as %d characters, where NIST SP 800-63B asks for 15 if nothing else is asked for", k.minPassword),
			"set Config.Passwords.MinLength to 15, unless there is a second factor"})
	}
	if k.throttle == nil {
		found = append(found, Finding{"no_throttle", slog.LevelWarn,
			"nothing slows down whoever guesses passwords, but what a hash costs", "set Config.Throttle, such as to one of package throttle"})
	}
	if procs := runtime.GOMAXPROCS(0); procs > 1 && k.gate.Size() >= procs {
		found = append(found, Finding{"hashes_take_all", slog.LevelWarn,
			fmt.Sprintf("%d hashes may run at once on %d processors, so that a storm of logins starves all other requests", k.gate.Size(), procs),
			"set Config.Passwords.MaxConcurrentHashes to 0, for one less"})
	}
	if k.roles == nil {
		found = append(found, Finding{"no_role_table", slog.LevelInfo,
			"there is no role table, so that a misspelt role is taken for another one", "set Config.Roles"})
	}
	return found
}

func (k *Kit) examineStores() (found []Finding) {
	const dies = "set it to a store on a database, such as package sqlstore's"
	users := untimed(k.users)
	_, memory := users.(*MemoryStore)
	if memory {
		found = append(found, Finding{"memory_store", slog.LevelWarn,
			"accounts are kept in memory: they end with the process, and another instance has others", "Config.Users: " + dies})
	}
	if k.sessions == nil {
		return found
	}
	sessions := untimed(k.sessions.store)
	_, sessionMemory := sessions.(*MemoryStore)
	switch {
	case sessionMemory && !memory:
		found = append(found, Finding{"memory_sessions", slog.LevelWarn,
			"sessions are kept in memory: a restart logs everybody out, and another instance knows none of them", "Config.Sessions.Store: " + dies})
	case memory && !sessionMemory:
		found = append(found, Finding{"sessions_outlive_accounts", slog.LevelError,
			"accounts are kept in memory and sessions are not: after a restart there are sessions of nobody", "Config.Users: " + dies})
	case reflect.TypeOf(users) != reflect.TypeOf(sessions):
		found = append(found, Finding{"stores_apart", slog.LevelInfo,
			fmt.Sprintf("accounts are in a %T and sessions in a %T: what ends a login is two changes, and a backup of one may not fit the other", users, sessions),
			"after a restore of either, end all sessions"})
	}
	return found
}

// A survey is what the accounts that were looked at have in common.
type survey struct {
	accounts, noPassword, due, unreadable, strangeRoles, ahead int
	sessions, expired, owners                                  int
	addresses                                                  map[string]int
}

// examineData looks at the first accounts and their sessions.
func (k *Kit) examineData(ctx context.Context) []Finding {
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	s := survey{addresses: map[string]int{}}
	var found []Finding
	if err := k.survey(ctx, &s); err != nil {
		found = append(found, Finding{"unavailable", slog.LevelError,
			fmt.Sprintf("the stores could be looked at for %d accounts only: %v", s.accounts, err), "see to the store, and ask again"})
	}
	return append(found, s.findings()...)
}

// survey reads the accounts and sessions.
func (k *Kit) survey(ctx context.Context, s *survey) error {
	after := ""
	for s.accounts < doctorAccounts {
		page, err := k.users.ListUsers(ctx, UserQuery{After: after, Limit: doctorPage})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, u := range page {
			if err := k.surveyUser(ctx, s, u.ID); err != nil {
				return err
			}
		}
		after = page[len(page)-1].ID
	}
	return nil
}

func (k *Kit) surveyUser(ctx context.Context, s *survey, id string) error {
	u, err := k.users.UserByID(ctx, id)
	if errors.Is(err, ErrUserNotFound) { // deleted meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	s.accounts++
	at := now()
	if soon := at.Add(defaultLeeway); u.CreatedAt.After(soon) || u.UpdatedAt.After(soon) || u.ValidFrom.After(soon) {
		s.ahead++
	}
	if slices.ContainsFunc(u.Roles, func(role string) bool { return !k.roles.knows(role) }) {
		s.strangeRoles++
	}
	if u.PasswordHash == "" {
		s.noPassword++
	} else if due, err := k.hasher.NeedsRehash(u.PasswordHash); err != nil {
		s.unreadable++
	} else if due {
		s.due++
	}
	if k.sessions == nil {
		return nil
	}
	sessions, err := k.sessions.store.SessionsByUser(ctx, id)
	if err != nil {
		return err
	}
	s.owners += min(1, len(sessions))
	for _, session := range sessions {
		s.sessions++
		s.addresses[session.Address]++
		if session.ExpiresAt.Before(at.Add(-time.Hour)) {
			s.expired++
		}
		if session.LastUsedAt.After(at.Add(defaultLeeway)) {
			s.ahead++
		}
	}
	return nil
}

// findings says what the survey shows.
func (s *survey) findings() (found []Finding) {
	of := fmt.Sprintf("of the first %d accounts", s.accounts)
	if s.unreadable > 0 {
		found = append(found, Finding{"unreadable_hashes", slog.LevelError,
			fmt.Sprintf("%s, %d have a password hash that Config.Passwords.Hasher cannot read: they cannot log in", of, s.unreadable),
			"add the scheme to Schemes, or set these passwords anew"})
	}
	if s.due > 0 {
		found = append(found, Finding{"hashes_due", slog.LevelWarn,
			fmt.Sprintf("%s, %d have a password hash of an older scheme or a lower cost; the time of a failed login tells which", of, s.due),
			"each is replaced when its owner logs in; count all with: authkit rehash-report; end those that are left after a year"})
	}
	if s.strangeRoles > 0 {
		found = append(found, Finding{"unknown_roles", slog.LevelWarn,
			fmt.Sprintf("%s, %d have a role that is not in Config.Roles, or not well-formed", of, s.strangeRoles),
			"add the role to the table, or take it from the accounts"})
	}
	if s.ahead > 0 {
		found = append(found, Finding{"clock_skew", slog.LevelError,
			fmt.Sprintf("%d accounts or sessions have a time more than %v from now in the future", s.ahead, defaultLeeway),
			"see that the clocks of all instances are right; run NTP"})
	}
	if s.expired > 0 {
		found = append(found, Finding{"expired_sessions", slog.LevelWarn,
			fmt.Sprintf("%s, there are %d sessions that expired more than an hour ago", of, s.expired), "let Kit.Run run in an instance"})
	}
	if s.owners >= 5 && len(s.addresses) == 1 {
		for address := range s.addresses {
			if address == "" { // nobody said where requests come from
				break
			}
			found = append(found, Finding{"one_address", slog.LevelWarn,
				fmt.Sprintf("all %d sessions of %d users come from the address %q, which may be that of a proxy", s.sessions, s.owners, address),
				"put TrustProxies of package throttle around the handlers, or WithClient, with the addresses of your own proxies"})
		}
	}
	return found
}
