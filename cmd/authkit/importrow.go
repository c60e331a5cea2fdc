package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// members are the members of a line of an import. Each reads a value into an
// account. A member may be null, which is like an absent one. No error holds a
// value: it may be secret.
var members = map[string]func(u *authkit.StoredUser, value json.RawMessage) error{
	"id":            func(u *authkit.StoredUser, v json.RawMessage) error { return readID(&u.ID, v) },
	"email":         func(u *authkit.StoredUser, v json.RawMessage) error { return readText(&u.Email, v) },
	"full_name":     func(u *authkit.StoredUser, v json.RawMessage) error { return readText(&u.FullName, v) },
	"roles":         func(u *authkit.StoredUser, v json.RawMessage) error { return readRoles(&u.Roles, v) },
	"disabled":      func(u *authkit.StoredUser, v json.RawMessage) error { return readBool(&u.Disabled, v) },
	"password_hash": func(u *authkit.StoredUser, v json.RawMessage) error { return readHash(&u.PasswordHash, v) },
	"created_at":    func(u *authkit.StoredUser, v json.RawMessage) error { return readTime(&u.CreatedAt, v) },
	"updated_at":    func(u *authkit.StoredUser, v json.RawMessage) error { return readTime(&u.UpdatedAt, v) },
}

const memberNames = "id, email, full_name, roles, disabled, password_hash, created_at and updated_at"

// readAccount reads a line. It returns the errors of all members.
func readAccount(line []byte) (u authkit.StoredUser, errs []error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return u, []error{errors.New("not a JSON object of " + memberNames)}
	}
	seen := make(map[string]bool)
	for dec.More() {
		var value json.RawMessage
		token, err := dec.Token()
		if err == nil {
			err = dec.Decode(&value)
		}
		name, _ := token.(string)
		if err != nil {
			return u, []error{errors.New("not a JSON object of " + memberNames)}
		}
		read, known := members[name]
		switch {
		case !known:
			err = errors.New("unknown; the members are " + memberNames)
		case seen[name]:
			err = errors.New("there twice")
		case string(value) != "null":
			err = read(&u, value)
		}
		seen[name] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("%.40q: %w", name, err))
		}
	}
	if _, err := dec.Token(); err != nil {
		return u, []error{errors.New("not a JSON object of " + memberNames)}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		errs = append(errs, errors.New("more than one JSON object"))
	}
	return u, errs
}

func readText(to *string, value json.RawMessage) error {
	if json.Unmarshal(value, to) != nil {
		return errors.New("not a text")
	}
	return nil
}

// readID also accepts numbers: many databases number their rows.
func readID(to *string, value json.RawMessage) error {
	if strings.Trim(string(value), "0123456789") == "" {
		*to = string(value)
		return nil
	}
	if readText(to, value) != nil {
		return errors.New("not a text or a whole number")
	}
	return nil
}

func readRoles(to *[]string, value json.RawMessage) error {
	if json.Unmarshal(value, to) != nil {
		return errors.New("not a list of texts")
	}
	return nil
}

// readBool also accepts 0 and 1: databases without booleans have them.
func readBool(to *bool, value json.RawMessage) error {
	b, err := strconv.ParseBool(strings.Trim(string(value), `"`))
	if err != nil {
		return errors.New("not true, false, 0 or 1")
	}
	*to = b
	return nil
}

// readHash reads Django's form of an account without a usable password, which
// begins with "!", as no password.
func readHash(to *authkit.PasswordHash, value json.RawMessage) error {
	var text string
	if err := readText(&text, value); err != nil {
		return err
	}
	if !strings.HasPrefix(text, "!") {
		*to = authkit.PasswordHash(text)
	}
	return nil
}

// readTime accepts the forms of RFC 3339 and of databases. A time without a
// zone is in UTC.
func readTime(to *time.Time, value json.RawMessage) error {
	var text string
	if readText(&text, value) == nil {
		for _, layout := range []string{
			time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700", "2006-01-02 15:04:05Z07",
			"2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05", time.DateTime, time.DateOnly,
		} {
			if at, err := time.Parse(layout, text); err == nil {
				*to = at.UTC()
				return nil
			}
		}
	}
	return errors.New("not a time such as 2026-01-02T15:04:05Z or 2026-01-02 15:04:05")
}
