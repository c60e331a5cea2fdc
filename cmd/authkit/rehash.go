package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/authkit-go/authkit"
)

// A kindOfHash is a row of the report.
type kindOfHash struct {
	scheme string
	due    bool
}

func rehashReport(ctx context.Context, c *call) error {
	c.databaseFlags()
	c.hasherFlags()
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	hasher, err := c.hasher()
	if err != nil {
		return err
	}
	if _, err := c.kit(authkit.Config{}); err != nil { // checks the cost
		return err
	}
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	counts, err := countHashes(ctx, store, hasher)
	if err != nil {
		return err
	}
	t, err := c.table("scheme", "accounts", "due")
	if err != nil {
		return err
	}
	rows := slices.SortedFunc(maps.Keys(counts), func(a, b kindOfHash) int { return strings.Compare(a.scheme, b.scheme) })
	for _, k := range rows {
		if err := t.row(k.scheme, counts[k], k.due); err != nil {
			return err
		}
	}
	return nil
}

// A querier is the part of a sqlstore.DB that the report uses.
type querier interface {
	Tenant() string
	Query(ctx context.Context, each func(scan func(...any) error) error, query string, args ...any) error
}

// countHashes counts the hashes of all accounts by their kind, in one query. The database does
// not group them: it cannot tell a hash that no scheme reads from one of the same length.
func countHashes(ctx context.Context, db querier, hasher authkit.Hasher) (map[kindOfHash]int, error) {
	counts := make(map[kindOfHash]int)
	err := db.Query(ctx, func(scan func(...any) error) error {
		var hash string
		if err := scan(&hash); err != nil {
			return err
		}
		counts[kindOf(hasher, authkit.PasswordHash(hash))]++
		return nil
	}, `SELECT password_hash FROM {users} WHERE tenant = ?`, db.Tenant())
	return counts, err
}

// kindOf returns the scheme and the cost of a hash.
func kindOf(hasher authkit.Hasher, hash authkit.PasswordHash) kindOfHash {
	if hash == "" {
		return kindOfHash{"none", false}
	}
	due, err := hasher.NeedsRehash(hash)
	if err != nil { // the text may be a password
		return kindOfHash{"unreadable", true}
	}
	fields := strings.Split(string(hash), "$")
	switch {
	case strings.HasPrefix(string(hash), "$2"):
		return kindOfHash{"bcrypt, cost " + fields[2], due}
	case fields[0] == "pbkdf2_sha256":
		return kindOfHash{"pbkdf2-sha256 of Django, " + fields[1] + " rounds", due}
	case fields[1] == "pbkdf2-sha256":
		return kindOfHash{"pbkdf2-sha256, " + fields[2] + " rounds", due}
	}
	return kindOfHash{"argon2id, " + fields[3], due}
}
