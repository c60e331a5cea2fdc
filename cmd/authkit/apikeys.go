package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/apikey/apikeysql"
)

// keyFlags are for commands on API keys.
func (c *call) keyFlags() {
	c.databaseFlags()
	c.apiKeys = true
	c.flags.StringVar(&c.keyPrefix, "prefix", "", "`prefix` of the keys, as in apikey.Config (default ak)")
}

// withKeys adds API keys to the configuration of an operation. The command does
// not know the role table of the service, so it takes every scope.
func (c *call) withKeys(op *operation, cfg *authkit.Config) error {
	keys := apikey.Config{Store: apikeysql.New(op.store), Prefix: c.keyPrefix}
	auth, err := apikey.NewAuthenticator(keys)
	if err != nil {
		return usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	cfg.Authenticators = []authkit.Authenticator{auth}
	cfg.UserData = append(cfg.UserData, auth)
	if c.apiKeys {
		cfg.Roles = map[string][]string{"any": c.keyScopes}
	}
	op.auth = auth
	return nil
}

// keys returns the API keys of an operation.
func (op *operation) keys() (*apikey.Keys, error) { return apikey.New(op.kit, op.auth) }

func listKeys(ctx context.Context, c *call) error {
	c.keyFlags()
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	ctx, op, err := c.operation(ctx)
	if err != nil {
		return err
	}
	u, err := op.user(ctx, args[0])
	if err != nil {
		return err
	}
	keys, err := op.keys()
	if err != nil {
		return err
	}
	list, err := keys.List(ctx, apikey.OfUser(u.ID))
	if err != nil {
		return err
	}
	t, err := c.table("id", "name", "scopes", "networks", "created_at", "expires_at", "last_used_at")
	for _, k := range list {
		if err == nil {
			err = t.row(k.ID, k.Name, strings.Join(k.Scopes, ","), networksText(k.Networks), k.CreatedAt, k.ExpiresAt, k.LastUsedAt)
		}
	}
	return err
}

func networksText(networks []netip.Prefix) string {
	var list []string
	for _, n := range networks {
		list = append(list, n.String())
	}
	return strings.Join(list, ",")
}

func createKey(ctx context.Context, c *call) error {
	c.keyFlags()
	c.auditFlags()
	var o apikey.Options
	var scopes, networks texts
	c.flags.StringVar(&o.Name, "name", "", "`name` of the key")
	c.flags.Var(&scopes, "scope", "`permission` that the key can have; may be repeated; not compared with the roles of the service")
	c.flags.Var(&networks, "network", "`network` from which the key is accepted, such as 192.0.2.0/24; may be repeated")
	c.flags.DurationVar(&o.Life, "life", 0, "time until the key expires, such as 720h (default 2160h, which is 90 days)")
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	for _, text := range networks {
		n, err := netip.ParsePrefix(text)
		if err != nil {
			return usagef("-network %q; use a network such as 192.0.2.0/24", printable(text))
		}
		o.Networks = append(o.Networks, n)
	}
	o.Scopes, c.keyScopes = scopes, scopes
	ctx, op, err := c.operation(ctx)
	if err != nil {
		return err
	}
	u, err := op.user(ctx, args[0])
	if err != nil {
		return err
	}
	keys, err := op.keys()
	if err != nil {
		return err
	}
	key, err := keys.Create(ctx, apikey.OfUser(u.ID), o)
	if err = op.done(ctx, err); err != nil {
		return err
	}
	t, err := c.table("id", "expires_at", "key")
	if err != nil {
		return err
	}
	return t.row(key.ID, key.ExpiresAt, key.Text)
}

func revokeKeys(ctx context.Context, c *call) error {
	c.keyFlags()
	c.auditFlags()
	args, err := c.parse(2, -1)
	if err != nil {
		return err
	}
	ctx, op, err := c.operation(ctx)
	if err != nil {
		return err
	}
	u, err := op.user(ctx, args[0])
	if err != nil {
		return err
	}
	keys, err := op.keys()
	if err != nil {
		return err
	}
	for _, id := range args[1:] {
		if err := keys.Revoke(ctx, apikey.OfUser(u.ID), id); err != nil {
			return op.done(ctx, fmt.Errorf("%s: %w; the ones before it were revoked", printable(id), err))
		}
	}
	return op.done(ctx, nil)
}

// A keyRow is a line of an import of API keys.
type keyRow struct {
	User      string         `json:"user"` // an ID or an e-mail address
	Hash      string         `json:"hash"` // SHA-256 of the key in hexadecimal
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Scopes    []string       `json:"scopes"`
	Networks  []netip.Prefix `json:"networks"`
	ExpiresAt time.Time      `json:"expires_at"` // zero: 90 days from now
}

func importKeys(ctx context.Context, c *call) error {
	c.keyFlags()
	c.auditFlags()
	skip := c.flags.Bool("skip-existing", false, "skip keys that exist, such as those of an interrupted import")
	args, err := c.parse(0, 1)
	if err != nil {
		return err
	}
	input := c.stdin
	if len(args) > 0 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		input = f
	} else if isTerminal(input) {
		return usagef("no input; pass a file, or write to standard input")
	}
	rows, lines, err := readKeyRows(input)
	if err != nil {
		return fmt.Errorf("%w; nothing was imported", err)
	}
	for _, r := range rows {
		c.keyScopes = append(c.keyScopes, r.Scopes...)
	}
	ctx, op, err := c.operation(ctx)
	if err != nil {
		return err
	}
	keys, err := op.keys()
	if err != nil {
		return err
	}
	imported, skipped := 0, 0
	for i, r := range rows {
		switch err := importKey(ctx, op, keys, r); {
		case *skip && errors.Is(err, apikey.ErrExists):
			skipped++
		case err != nil:
			return op.done(ctx, fmt.Errorf("line %d: %w; %d keys were imported before it; fix it, and run the command again with -skip-existing", lines[i], err, imported))
		default:
			imported++
		}
	}
	if err := op.done(ctx, nil); err != nil {
		return err
	}
	t, err := c.table("read", "imported", "skipped")
	if err != nil {
		return err
	}
	return t.row(len(rows), imported, skipped)
}

// importKey imports the key of one line.
func importKey(ctx context.Context, op *operation, keys *apikey.Keys, r keyRow) error {
	u, err := op.user(ctx, r.User)
	if err != nil {
		return err
	}
	i := apikey.Import{Owner: apikey.OfUser(u.ID), ID: r.ID, Options: apikey.Options{Name: r.Name, Scopes: r.Scopes, Networks: r.Networks}}
	if n, err := hex.Decode(i.Hash[:], []byte(r.Hash)); err != nil || n != len(i.Hash) || len(r.Hash) != 2*n {
		return errors.New("the hash is not a SHA-256 in 64 hexadecimal digits")
	}
	if !r.ExpiresAt.IsZero() {
		if i.Life = time.Until(r.ExpiresAt); i.Life <= 0 {
			return errors.New("the key has expired")
		}
	}
	_, err = keys.Import(ctx, i)
	return err
}

// readKeyRows reads all lines of an import, with their numbers.
func readKeyRows(input io.Reader) (rows []keyRow, lines []int, err error) {
	scan := bufio.NewScanner(input)
	scan.Buffer(nil, maxImportLine)
	for n := 1; scan.Scan(); n++ {
		line := bytes.TrimSpace(scan.Bytes())
		if len(line) == 0 {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		var r keyRow
		if err := d.Decode(&r); err != nil {
			return nil, nil, fmt.Errorf("line %d is not a JSON object with user, hash, id, name, scopes, networks, expires_at", n)
		}
		if len(r.Hash) != 64 {
			return nil, nil, fmt.Errorf("line %d: the hash has not 64 hexadecimal digits; the key itself must not be in the file", n)
		}
		rows, lines = append(rows, r), append(lines, n)
	}
	return rows, lines, scan.Err()
}
