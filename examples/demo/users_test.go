package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/stretchr/testify/require"
)

// TestManyAccounts asserts that a list of several pages of the store is whole and in
// order.
func TestManyAccounts(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	for i := range 2*maxPage + 1 - len(cfg.accounts) {
		cfg.accounts = append(cfg.accounts, authkit.StoredUser{User: authkit.User{Email: fmt.Sprintf("user%04d@example.com", i)}})
	}
	url := start(t, cfg)
	a, err := send(url, call{method: "GET", path: "/admin/users", token: login(t, url, "admin@example.com", adminPassword)})
	require.NoError(t, err)
	var got []userView
	require.NoError(t, json.Unmarshal(a.body, &got))
	require.Len(t, got, len(cfg.accounts))
	for i, want := range cfg.accounts {
		require.Equal(t, want.Email, got[i].Email)
		require.NotNil(t, got[i].Roles)
	}
}

// A failingStore fails the nth time that it is asked for a list.
type failingStore struct {
	authkit.UserStore
	nth int
}

func (s *failingStore) ListUsers(ctx context.Context, q authkit.UserQuery) ([]authkit.User, error) {
	s.nth--
	if s.nth == 0 {
		return nil, errors.New("a store with a private reason")
	}
	return s.UserStore.ListUsers(ctx, q)
}

// TestListWithoutStore asserts that a list is never taken for a whole one when the store
// fails, whenever it does.
func TestListWithoutStore(t *testing.T) {
	t.Parallel()
	users := authkit.NewMemoryStore()
	for i := range 2 {
		u := authkit.StoredUser{User: authkit.User{ID: authkit.NewUserID(), Email: fmt.Sprintf("user%d@example.com", i)}}
		require.NoError(t, users.CreateUser(t.Context(), u))
	}
	logs := new(lockedBuffer)
	log := slog.New(slog.NewTextHandler(logs, nil))
	for _, c := range []struct {
		query string
		nth   int
		cut   bool // too late for a status
	}{
		{"", 1, false}, {"", 2, true}, {"?limit=1", 1, false}, {"?limit=1", 2, false},
	} {
		kit, err := authkit.New(authkit.Config{Secret: testConfig(t).secret, Users: &failingStore{users, c.nth}, Logger: log})
		require.NoError(t, err)
		s := &server{kit: kit, log: log}
		wrap, err := around(config{log: log})
		require.NoError(t, err)
		url := startHandler(t, wrap(http.HandlerFunc(s.listUsers)), log)
		a, err := send(url, call{method: "GET", path: "/" + c.query})
		if c.cut {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		a.isProblem(t, http.StatusServiceUnavailable, "")
		require.NotEmpty(t, a.header.Get("Retry-After"))
		require.NotContains(t, string(a.body), "private")
	}
	require.Contains(t, logs.String(), "a store with a private reason")
}
