package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

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
	total := 0
	err = eachPage(ctx, store, authkit.UserQuery{}, func(page []authkit.User) (bool, error) { total += len(page); return true, nil })
	if err != nil {
		return err
	}
	counts, done, p := map[kindOfHash]int{}, 0, c.progress("accounts", total)
	err = eachPage(ctx, store, authkit.UserQuery{}, func(page []authkit.User) (bool, error) {
		kinds, err := kindsOf(ctx, store, hasher, page)
		for _, k := range kinds {
			if k.scheme != "" {
				counts[k]++
			}
		}
		done += len(page)
		p.at(done)
		return true, err
	})
	p.end(done)
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

// kindsOf looks up the hashes of a page, several at a time. The entry of an
// account that is gone is empty.
func kindsOf(ctx context.Context, store authkit.UserStore, hasher authkit.Hasher, page []authkit.User) ([]kindOfHash, error) {
	kinds, errs := make([]kindOfHash, len(page)), make([]error, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < len(page) && errs[w] == nil; i += workers {
				u, err := store.UserByID(ctx, page[i].ID)
				switch {
				case err == nil:
					kinds[i] = kindOf(hasher, u.PasswordHash)
				case !errors.Is(err, authkit.ErrUserNotFound):
					errs[w] = err
				}
			}
		})
	}
	group.Wait()
	return kinds, errors.Join(errs...)
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
