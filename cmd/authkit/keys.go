package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/jwks"
)

// tokenLife is how long a token can stay valid after its key was replaced: the
// longest life, and the leeway on both sides.
const tokenLife = time.Hour + 2*time.Minute

func hashPassword(ctx context.Context, c *call) error {
	c.hasherFlags()
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	kit, err := c.kit(authkit.Config{})
	if err != nil {
		return err
	}
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	hash, err := kit.HashPassword(ctx, password)
	if err != nil {
		return err
	}
	if c.json {
		return json.NewEncoder(c.stdout).Encode(map[string]string{"hash": string(hash)})
	}
	_, err = fmt.Fprintln(c.stdout, string(hash))
	return err
}

// rotateKey writes a new key into the file, and the old one into a file next to
// it. Of an asymmetric key it keeps only the public half.
func rotateKey(_ context.Context, c *call) error {
	alg := c.flags.String("alg", "", "`algorithm`, such as EdDSA, ES256, RS256 or HS256 (default that of the old key, or EdDSA)")
	force := c.flags.Bool("force", false, "rotate even if tokens of the key before the old one may still be valid")
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	file := args[0]
	old, err := readKey(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	hasOld := err == nil
	previous := previousFile(file)
	if info, err := os.Stat(previous); err == nil && !*force {
		if left := time.Until(info.ModTime().Add(tokenLife)); left > 0 {
			return fmt.Errorf("%s was written %v ago, and its tokens may still be valid; wait %v, or pass -force, which invalidates them",
				previous, time.Since(info.ModTime()).Round(time.Second), left.Round(time.Second))
		}
	}
	next, err := jwks.GenerateKey(authkit.Algorithm(cmp.Or(*alg, string(old.Algorithm), string(authkit.EdDSA))))
	if err != nil {
		return usagef("-alg: %v; use EdDSA, ES256, RS256, PS256, HS256, HS384 or HS512", err)
	}
	if hasOld {
		if old.Private != nil {
			old.Private = nil // it must not sign any more
		}
		if err := writeKey(previous, old); err != nil {
			return err
		}
	} else {
		previous = ""
	}
	if err := writeKey(file, next); err != nil {
		return err
	}
	t, err := c.table("key_id", "algorithm", "file", "old_key_id", "old_file")
	if err != nil {
		return err
	}
	return t.row(next.ID, string(next.Algorithm), file, old.ID, previous)
}

// previousFile returns the file for the previous key of a file.
func previousFile(file string) string {
	ext := filepath.Ext(file)
	return strings.TrimSuffix(file, ext) + ".previous" + ext
}

// readKey reads a key: PEM, or a JSON Web Key.
func readKey(file string) (authkit.Key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return authkit.Key{}, err
	}
	parse := jwks.ParsePEM
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		parse = jwks.ParseKey
	}
	key, err := parse(text)
	if err != nil {
		return authkit.Key{}, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// writeKey writes a key that only its owner can read: in PEM, or a secret as a
// JSON Web Key. The file is complete at any time.
func writeKey(file string, key authkit.Key) error {
	var text []byte
	var err error
	if key.Secret != nil {
		text, err = json.Marshal(map[string]string{
			"kty": "oct", "alg": string(key.Algorithm), "kid": key.ID, "k": base64.RawURLEncoding.EncodeToString(key.Secret),
		})
		text = append(text, '\n')
	} else {
		text, err = jwks.MarshalPEM(key)
	}
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
