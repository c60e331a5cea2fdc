package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/benchmarks/internal/harness"
	"github.com/authkit-go/authkit/benchmarks/internal/peers"
)

// activeUsers is the number of accounts that are looked up repeatedly: those
// that currently use the service.
const activeUsers = 1_000

// lookUp measures the memory store with a thousand users and with a million.
// With a thousand active users in both, the difference is due to the store, and
// is judged. With a million equally likely users, the processor's caches
// dominate, and a plain map with the same access shows by how much.
func lookUp(name string, env env) (harness.Section, error) {
	g := harness.Group{Name: name, Large: true, Work: "Find one user: of a thousand that are active, or of all."}
	for _, size := range []struct {
		name string
		n    int
	}{{"1,000", 1_000}, {"1,000,000", 1_000_000}} {
		env.cfg.Progress("%s: filling a store with %s users", name, size.name)
		users, err := newPopulation(size.n)
		if err != nil {
			return harness.Section{}, err
		}
		byID := func(id string) bool {
			u, err := users.store.UserByID(context.Background(), id)
			return err == nil && u.ID == id
		}
		byEmail := func(email string) bool {
			u, err := users.store.UserByEmail(context.Background(), email)
			return err == nil && u.Email == email
		}
		g.Contenders = append(g.Contenders,
			users.contender("MemoryStore, "+size.name+", by ID, active", peers.Ours, users.ids[:activeUsers], byID),
			users.contender("MemoryStore, "+size.name+", by e-mail, active", peers.Ours, users.emails[:activeUsers], byEmail),
			users.contender("MemoryStore, "+size.name+", by ID", peers.Ours, users.ids, byID),
			users.contender("MemoryStore, "+size.name+", by e-mail", peers.Ours, users.emails, byEmail),
			users.contender("map[string]*User, "+size.name, peers.Floor, users.ids, func(id string) bool {
				u, ok := users.plain[id]
				return ok && u.ID == id
			}),
		)
	}
	for _, c := range []struct {
		by  string
		max float64
	}{
		{"MemoryStore, %s, by ID, active", 2}, {"MemoryStore, %s, by e-mail, active", 2},
		{"MemoryStore, %s, by ID", 0}, {"MemoryStore, %s, by e-mail", 0}, {"map[string]*User, %s", 0},
	} {
		g.Checks = append(g.Checks, harness.Check{
			What: name + ", a million against a thousand",
			Ours: fmt.Sprintf(c.by, "1,000,000"), Against: fmt.Sprintf(c.by, "1,000"), Max: c.max,
		})
	}
	return measure(g, env)
}

type population struct {
	store *authkit.MemoryStore
	plain map[string]*authkit.User
	// ids and emails are the keys in random order, cut out of one long string
	// each. Reading the next key is therefore sequential, like the key of a
	// request in the cache. Only the look-up itself has to wait for memory.
	ids, emails []string
}

func newPopulation(n int) (*population, error) {
	p := &population{store: authkit.NewMemoryStore(), plain: make(map[string]*authkit.User, n)}
	ids, emails := make([]string, n), make([]string, n)
	now := time.Now()
	for i := range n {
		u := authkit.User{
			ID: authkit.NewUserID(), Email: fmt.Sprintf("user%07d@example.com", i), FullName: fmt.Sprintf("User %d", i),
			Roles: []string{"user"}, CreatedAt: now, UpdatedAt: now,
		}
		ids[i], emails[i] = u.ID, u.Email
		if err := p.store.CreateUser(context.Background(), authkit.StoredUser{User: u}); err != nil {
			return nil, err
		}
		p.plain[u.ID] = &u
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	p.ids, p.emails = inOrder(ids, order), inOrder(emails, order)
	return p, nil
}

func inOrder(keys []string, order []int) []string {
	var b strings.Builder
	for _, i := range order {
		b.WriteString(keys[i])
	}
	long, out := b.String(), make([]string, len(keys))
	for at, i := range order {
		n := len(keys[i])
		out[at], long = long[:n], long[n:]
	}
	return out
}

func (p *population) contender(name string, kind peers.Kind, keys []string, find func(string) bool) harness.Contender {
	return harness.Contender{Name: name, Kind: kind, New: func() func() error {
		next := 0
		return func() error {
			if !find(keys[next]) {
				return fmt.Errorf("user %s not found", keys[next])
			}
			if next++; next == len(keys) {
				next = 0
			}
			return nil
		}
	}}
}
