package authkit

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Settings are the configuration that a [Kit] has in effect. They hold no secret. Log them
// when a program starts, but do not show them to users: they help attackers. Package doctor
// checks them.
type Settings struct {
	// Config is the configuration passed to [New], with the defaults filled in. Durations
	// are those in effect, so that zero means none. Secret, Tokens.Keys and Tokens.Ring are
	// empty: Keys describes the keys.
	Config

	// Keys describes the keys of the tokens at the time of the call.
	Keys []KeyInfo

	// KeysExpired reports that the keys come from a [KeySource] and are too old to verify
	// tokens.
	KeysExpired bool

	// HasherName describes Passwords.Hasher, such as "bcrypt, cost 12".
	HasherName string

	// SampleHash has the form of a hash. It shows the scheme and cost of new hashes, and
	// verifies no password.
	SampleHash PasswordHash
}

// A KeyInfo describes a [Key] without its secret.
type KeyInfo struct {
	ID        string
	Algorithm Algorithm
	Signs     bool // signs tokens; every key verifies them

	// SecretBits estimates the random bits of the secret of an HS key. It is zero for
	// other keys.
	SecretBits float64
}

// A Finding is a problem that package doctor reports. Stores, throttles and other parts of a
// configuration report findings too if they have the method
//
//	Doctor(ctx context.Context) []authkit.Finding
type Finding struct {
	// Code names the problem, such as "weak_secret". Codes do not change between versions.
	Code string `json:"code"`

	// Severity is slog.LevelError for a part that is broken or insecure, slog.LevelWarn
	// for one that is weaker than it should be, and slog.LevelInfo for a choice.
	Severity slog.Level `json:"severity"`

	Text string `json:"text"` // describes the problem
	Fix  string `json:"fix"`  // how to fix it
}

// String returns the finding as one line.
func (f Finding) String() string {
	return fmt.Sprintf("%v %s: %s; %s", f.Severity, f.Code, f.Text, f.Fix)
}

// Settings returns the configuration in effect. The caller may change the result.
func (k *Kit) Settings() Settings {
	s := k.settings
	s.Config = s.Config.clone()
	keys := k.verifier.keys.load()
	s.KeysExpired = keys.expired()
	for i, key := range keys.set.Keys {
		s.Keys = append(s.Keys, KeyInfo{key.ID, Algorithm(key.Algorithm), i == 0 && key.CanSign(), key.Bits})
	}
	return s
}

// effective returns the settings of a Kit, without the keys.
func (k *Kit) effective(cfg Config, users UserStore, tickets TicketStore, running int) Settings {
	cfg = cfg.clone()
	cfg.Secret, cfg.Tokens.Keys, cfg.Tokens.Ring = nil, nil, nil
	cfg.Tokens.Lifetime, cfg.Tokens.Leeway = k.issuer.lifetime, cfg.Tokens.leeway()
	cfg.Tokens.MaxLifetime, cfg.Tokens.MaxBytes = cfg.Tokens.maxLife(), cfg.Tokens.maxBytes()
	cfg.Users, cfg.Tickets = users, tickets
	if s := k.sessions; s != nil {
		cfg.Sessions.IdleTimeout, cfg.Sessions.AbsoluteTimeout, cfg.Sessions.ReuseGrace, cfg.Sessions.MaxPerUser = s.idle, s.absolute, s.grace, s.perUser
		if c := s.cookies; c != nil {
			cfg.Sessions.Cookies.IdleTimeout, cfg.Sessions.Cookies.AbsoluteTimeout = c.idle, c.absolute
		}
	}
	cfg.StoreTimeout = cmp.Or(cfg.StoreTimeout, defaultStoreTimeout)
	cfg.Passwords.Hasher, cfg.Passwords.MinLength, cfg.Passwords.MaxConcurrentHashes = k.hasher, k.minPassword, running
	cfg.AdminRole = k.adminRole
	return Settings{Config: cfg, HasherName: describeHasher(k.hasher), SampleHash: k.dummy}
}

// clone returns a copy that shares no slice or map with c, except for keys.
func (c Config) clone() Config {
	c.SecondFactors, c.Authenticators, c.UserData = slices.Clone(c.SecondFactors), slices.Clone(c.Authenticators), slices.Clone(c.UserData)
	c.RequireFactors = c.RequireFactors.clone()
	c.OnEvent, c.Roles = slices.Clone(c.OnEvent), maps.Clone(c.Roles)
	for role, permissions := range c.Roles {
		c.Roles[role] = slices.Clone(permissions)
	}
	if c.Resource != nil {
		resource := *c.Resource
		resource.AuthorizationServers, resource.Scopes = slices.Clone(resource.AuthorizationServers), slices.Clone(resource.Scopes)
		c.Resource = &resource
	}
	if c.Sessions.Cookies != nil {
		cookies := *c.Sessions.Cookies
		cookies.TrustedOrigins = slices.Clone(cookies.TrustedOrigins)
		c.Sessions.Cookies = &cookies
	}
	return c
}

// String returns the settings, one a line, each with the name of its field of [Config].
func (s Settings) String() string {
	var lines []string
	for _, a := range s.attrs() {
		lines = append(lines, a.String())
	}
	return strings.Join(lines, "\n")
}

// Format implements fmt.Formatter. It prints the text of String for every verb, so that the
// contents of stores and other parts are not printed.
func (s Settings) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements slog.LogValuer. It returns a group with the lines of String.
func (s Settings) LogValue() slog.Value { return slog.GroupValue(s.attrs()...) }

// attrs returns the settings by the names of their fields.
func (s Settings) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.Int("Tokens.Keys", len(s.Keys))}
	for i, key := range s.Keys {
		attrs = append(attrs, slog.String(fmt.Sprintf("Tokens.Keys[%d]", i), key.describe()))
	}
	attrs = append(attrs,
		slog.String("Tokens.Issuer", s.Tokens.Issuer),
		slog.String("Tokens.Audience", s.Tokens.Audience),
		slog.Bool("Tokens.AccessTokenProfile", s.Tokens.AccessTokenProfile),
		slog.String("Tokens.ClientID", s.Tokens.ClientID),
		slog.String("Tokens.Tenant", s.Tokens.Tenant),
		slog.Duration("Tokens.Lifetime", s.Tokens.Lifetime),
		slog.Duration("Tokens.MaxLifetime", s.Tokens.MaxLifetime),
		slog.Int("Tokens.MaxBytes", s.Tokens.MaxBytes),
		slog.Duration("Tokens.Leeway", s.Tokens.Leeway),
		slog.Int("Tokens.CacheSize", s.Tokens.CacheSize),
		slog.String("Users", typeName(s.Users)),
		slog.String("Sessions.Store", typeName(s.Sessions.Store)))
	if s.Sessions.Store != nil {
		attrs = append(attrs,
			slog.Duration("Sessions.IdleTimeout", s.Sessions.IdleTimeout),
			slog.Duration("Sessions.AbsoluteTimeout", s.Sessions.AbsoluteTimeout),
			slog.Duration("Sessions.ReuseGrace", s.Sessions.ReuseGrace),
			slog.Bool("Sessions.KeepSuccessor", s.Sessions.KeepSuccessor),
			slog.Int("Sessions.MaxPerUser", s.Sessions.MaxPerUser),
			slog.Bool("Sessions.Cookies", s.Sessions.Cookies != nil))
	}
	if c := s.Sessions.Cookies; c != nil {
		attrs = append(attrs,
			slog.Duration("Sessions.Cookies.IdleTimeout", c.IdleTimeout),
			slog.Duration("Sessions.Cookies.AbsoluteTimeout", c.AbsoluteTimeout),
			slog.String("Sessions.Cookies.LoginPath", c.LoginPath),
			slog.String("Sessions.Cookies.TrustedOrigins", strings.Join(c.TrustedOrigins, " ")))
	}
	var factors []string
	for _, f := range s.SecondFactors {
		factors = append(factors, f.Method())
	}
	return append(attrs,
		slog.String("Tickets", typeName(s.Tickets)),
		slog.String("SecondFactors", strings.Join(factors, " ")),
		slog.String("RequireFactors", s.RequireFactors.describe()),
		slog.String("TrustedDevices", typeName(s.TrustedDevices)),
		slog.String("Authenticators", typeNames(s.Authenticators)),
		slog.String("UserData", typeNames(s.UserData)),
		slog.String("Clients", typeName(s.Clients)),
		slog.String("Resource", s.Resource.describe()),
		slog.Bool("RequireVerifiedEmail", s.RequireVerifiedEmail),
		slog.String("Throttle", typeName(s.Throttle)),
		slog.Duration("StoreTimeout", s.StoreTimeout),
		slog.String("Passwords.Hasher", s.HasherName),
		slog.Int("Passwords.MinLength", s.Passwords.MinLength),
		slog.Bool("Passwords.Normalize", s.Passwords.Normalize != nil),
		slog.Bool("Passwords.Check", s.Passwords.Check != nil),
		slog.Int("Passwords.MaxConcurrentHashes", s.Passwords.MaxConcurrentHashes),
		slog.String("Roles", describeRoles(s.Roles)),
		slog.String("AdminRole", s.AdminRole),
		slog.Bool("EmailSubject", s.EmailSubject),
		slog.Bool("ExtraClaims", s.ExtraClaims != nil),
		slog.Int("OnEvent", len(s.OnEvent)))
}

// describe returns the key as it is logged.
func (k KeyInfo) describe() string {
	text := string(k.Algorithm) + " " + redacted
	if k.ID != "" {
		text = fmt.Sprintf("%s %q", text, k.ID)
	}
	if k.Signs {
		return text + ", signs"
	}
	return text + ", verifies"
}

// typeName returns the type of a part, without its wrappers, or "off" for nil.
func typeName(part any) string {
	if part == nil {
		return "off"
	}
	return fmt.Sprintf("%T", unwrapped(part))
}

// unwrapped returns a part without the wrappers that show it by a method Unwrap.
func unwrapped(part any) any {
	for {
		wrapper, ok := part.(interface{ Unwrap() any })
		if !ok {
			return part
		}
		part = wrapper.Unwrap()
	}
}

// typeNames returns the types of parts.
func typeNames[T any](parts []T) string {
	var names []string
	for _, part := range parts {
		names = append(names, typeName(part))
	}
	return strings.Join(names, " ")
}

// same reports whether two values are equal. Values that cannot be compared are not.
func same(a, b any) bool { return reflect.TypeOf(a).Comparable() && a == b }

// describeHasher returns the schemes of a Hasher and the cost of new hashes.
func describeHasher(h Hasher) string {
	switch h := h.(type) {
	case chain:
		text := describeHasher(h[0])
		for i, other := range h[1:] {
			name, _, _ := strings.Cut(describeHasher(other), ",")
			text += []string{"; reads ", ", "}[min(i, 1)] + name
		}
		return text
	case Bcrypt:
		return fmt.Sprintf("bcrypt, cost %d", h.cost())
	case PBKDF2SHA256:
		return fmt.Sprintf("pbkdf2-sha256, %d rounds", h.rounds())
	case Argon2id:
		t, m, p := h.params()
		return fmt.Sprintf("argon2id, %d KiB, %d passes, %d lanes", m, t, p)
	}
	return fmt.Sprintf("%T", h)
}

// describeRoles returns the role table as text.
func describeRoles(table map[string][]string) string {
	if table == nil {
		return "any"
	}
	var rows []string
	for _, role := range slices.Sorted(maps.Keys(table)) {
		row := role
		if len(table[role]) > 0 {
			row += ": " + strings.Join(table[role], " ")
		}
		rows = append(rows, row)
	}
	return strings.Join(rows, "; ")
}
