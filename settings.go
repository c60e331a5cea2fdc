package authkit

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// Settings returns the policy that the Kit has in effect, defaults filled in: the fields of
// [Config] by name, as they could be logged at the start. Secrets are not in it. It is for
// operators: who knows it knows what to try.
func (k *Kit) Settings() []slog.Attr {
	keys := k.verifier.keys.load()
	settings := []slog.Attr{slog.Int("Tokens.Keys", len(keys.keys))}
	for i, b := range keys.keys {
		text := string(b.alg) + " " + redacted
		if b.id != "" {
			text = fmt.Sprintf("%s %q", text, b.id)
		}
		switch {
		case i == 0 && b.canSign():
			text += ", signs"
		case b.newMAC != nil || b.public != nil:
			text += ", verifies"
		}
		settings = append(settings, slog.String(fmt.Sprintf("Tokens.Keys[%d]", i), text))
	}
	return append(settings, k.settings...)
}

// effective returns the settings that do not change, but for the keys.
func (k *Kit) effective(cfg Config) []slog.Attr {
	settings := []slog.Attr{
		slog.String("Tokens.Issuer", cfg.Tokens.Issuer),
		slog.String("Tokens.Audience", cfg.Tokens.Audience),
		slog.Bool("Tokens.AccessTokenProfile", cfg.Tokens.AccessTokenProfile),
		slog.String("Tokens.ClientID", cfg.Tokens.ClientID),
		slog.Duration("Tokens.Lifetime", k.issuer.lifetime),
		slog.Duration("Tokens.Leeway", cfg.Tokens.leeway()),
		slog.Int("Tokens.CacheSize", cfg.Tokens.CacheSize),
		slog.String("Users", fmt.Sprintf("%T", untimed(k.users))),
	}
	if s := k.sessions; s == nil {
		settings = append(settings, slog.String("Sessions.Store", "off"))
	} else {
		settings = append(settings,
			slog.String("Sessions.Store", fmt.Sprintf("%T", untimed(s.store))),
			slog.Duration("Sessions.Idle", s.idle),
			slog.Duration("Sessions.Absolute", s.absolute),
			slog.Duration("Sessions.Grace", s.grace),
			slog.Int("Sessions.PerUser", s.perUser))
	}
	limits := "off"
	if k.throttle != nil {
		limits = fmt.Sprintf("%T", k.throttle)
	}
	return append(settings,
		slog.String("Throttle", limits),
		slog.Duration("StoreTimeout", cmp.Or(cfg.StoreTimeout, defaultStoreTimeout)),
		slog.String("Passwords.Hasher", describeHasher(k.hasher)),
		slog.String("Roles", describeRoles(cfg.Roles)),
		slog.Bool("EmailSubject", k.emailSubject),
		slog.Int("Passwords.MinLength", k.minPassword),
		slog.Bool("Passwords.Check", k.check != nil),
		slog.Int("Passwords.MaxConcurrentHashes", k.gate.Size()),
		slog.Bool("ExtraClaims", k.extraClaims != nil),
		slog.Int("OnEvent", len(cfg.OnEvent)),
	)
}

// untimed returns a store, or another part, without what was put around it.
func untimed(part any) any {
	switch s := part.(type) {
	case timedUsers:
		part = s.store
	case timedSessions:
		part = s.store
	case timedTickets:
		part = s.store
	}
	for {
		around, ok := part.(interface{ Unwrap() any })
		if !ok {
			return part
		}
		part = around.Unwrap()
	}
}

// describeHasher names the schemes of a Hasher, with the cost of new hashes.
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

// describeRoles lists the role table.
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
