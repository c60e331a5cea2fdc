package authkit_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/stretchr/testify/require"
)

func TestDeleteUser(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		stores func(*authkit.Config)
		kinds  []authkit.EventKind
	}{
		"one store":  {together, []authkit.EventKind{authkit.EventUserDeleted}},
		"two stores": {apart, []authkit.EventKind{authkit.EventUserDisabled, authkit.EventUserDeleted}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			data := &notes{wiped: map[string]authkit.Wipe{}}
			tickets := authkit.NewMemoryStore()
			kit := newKit(t, tc.stores, events.listen, func(c *authkit.Config) {
				c.UserData, c.Tickets = []authkit.UserData{data}, tickets
			})
			u := addUser(t, kit, email, password)
			kept := addUser(t, kit, "kept@example.com", password)
			token := begin(t, kit)
			stranger, err := kit.Login(t.Context(), kept.Email, password)
			require.NoError(t, err)
			var ids []string
			for _, subject := range []string{u.ID, u.Email, kept.ID} {
				ticket, _ := authkit.NewTicket("link", subject, time.Hour)
				require.NoError(t, tickets.PutTicket(t.Context(), ticket))
				ids = append(ids, ticket.ID)
			}
			events.reset()
			require.NoError(t, kit.DeleteUser(t.Context(), u.ID))
			require.Equal(t, tc.kinds, events.kinds())
			require.Equal(t, map[string]authkit.Wipe{u.ID: authkit.WipeAll}, data.wiped)
			require.Equal(t, http.StatusUnauthorized, access(t, kit, token))
			_, err = kit.Refresh(t.Context(), token.RefreshToken)
			require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
			left, err := kit.Sessions(t.Context(), u.ID)
			require.NoError(t, err)
			require.Empty(t, left)
			revoked, err := kit.Revocations(t.Context(), time.Time{})
			require.NoError(t, err)
			require.NotEmpty(t, revoked, "services without the accounts follow these")
			for i, id := range ids {
				_, err := tickets.AttemptTicket(t.Context(), "link", id, time.Now())
				require.Equal(t, i == 2, err == nil, "ticket %d", i)
			}
			require.Equal(t, http.StatusOK, access(t, kit, stranger))
			require.ErrorIs(t, kit.DeleteUser(t.Context(), u.ID), authkit.ErrUserNotFound)
			again := addUser(t, kit, email, password)
			require.NotEqual(t, u.ID, again.ID)
			require.Equal(t, http.StatusUnauthorized, access(t, kit, token))
		})
	}
}

// An error half-way leaves the account as it was, or disabled where there is no transaction;
// no event tells of a change that was rolled back.
func TestDeleteUserFails(t *testing.T) {
	t.Parallel()
	cause := errors.Join(errors.New("no notes"), authkit.ErrUserNotFound, authkit.ErrConflict)
	without := func(c *authkit.Config) {
		s := authkit.NewMemoryStore()
		both := &struct {
			authkit.UserStore
			authkit.SessionStore
		}{s, s}
		c.Users, c.Sessions.Store = both, both
	}
	for name, stores := range map[string]func(*authkit.Config){"one store": together, "two stores": apart, "no transactions": without} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			data := &notes{wiped: map[string]authkit.Wipe{}, err: cause}
			kit := newKit(t, stores, events.listen, func(c *authkit.Config) { c.UserData = []authkit.UserData{data} })
			data.kit = kit // its events wait, too
			u := addUser(t, kit, email, password)
			token := begin(t, kit)
			events.reset()
			err := kit.DeleteUser(t.Context(), u.ID)
			require.ErrorIs(t, err, cause)
			require.ErrorContains(t, err, "UserData notes")
			require.Equal(t, 500, authkit.ProblemFor(err).Status)
			require.NotErrorIs(t, err, authkit.ErrUnavailable)
			after, err := kit.User(t.Context(), u.ID)
			require.NoError(t, err)
			if name == "one store" {
				require.Equal(t, u, after)
				require.Empty(t, events.all())
				require.Equal(t, http.StatusOK, access(t, kit, token))
			} else {
				require.True(t, after.Disabled)
				want := []authkit.EventKind{authkit.EventUserDisabled}
				if name == "no transactions" {
					want = append(want, authkit.EventLogout) // that of the notes waits for no commit
				}
				require.Equal(t, want, events.kinds())
			}
			data.err = nil
			events.reset()
			require.NoError(t, kit.DeleteUser(t.Context(), u.ID))
			require.Contains(t, events.all(), authkit.Event{Kind: authkit.EventLogout, UserID: u.ID, ActorID: "system:notes"})
			require.Equal(t, authkit.EventUserDeleted, events.last().Kind)
		})
	}
}

// A busyStore refuses the first updates, with ErrConflict if err is nil.
type busyStore struct {
	*authkit.MemoryStore
	conflicts int
	err       error
}

func (s *busyStore) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if s.conflicts > 0 {
		s.conflicts--
		return authkit.User{}, cmp.Or(s.err, authkit.ErrConflict)
	}
	return s.MemoryStore.UpdateUser(ctx, id, change, at)
}

// DeleteUser begins again after a conflict, which does not end a transaction of the program.
func TestDeleteUserConflicts(t *testing.T) {
	t.Parallel()
	store := &busyStore{MemoryStore: authkit.NewMemoryStore()}
	var events recorder
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users, c.Sessions.Store = store, store })
	u, other := addUser(t, kit, email, password), addUser(t, kit, "other@example.com", password)
	events.reset()
	remove := func(ctx context.Context) error { return kit.DeleteUser(ctx, u.ID) }
	store.conflicts = 32
	require.ErrorIs(t, remove(t.Context()), authkit.ErrConflict)
	require.Zero(t, store.conflicts)
	store.conflicts = 32
	require.NoError(t, kit.InTx(t.Context(), func(ctx context.Context) error {
		require.ErrorIs(t, remove(ctx), authkit.ErrConflict)
		return kit.DeleteUser(ctx, other.ID)
	}))
	_, err := kit.User(t.Context(), other.ID)
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
	store.conflicts = 31
	require.NoError(t, kit.InTx(t.Context(), remove))
	_, err = kit.User(t.Context(), u.ID)
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
	require.Equal(t, []authkit.EventKind{authkit.EventUserDeleted, authkit.EventUserDeleted}, events.kinds())
}

// Every change that the store refuses leaves a transaction of the program usable.
func TestRefusedChangesInTx(t *testing.T) {
	t.Parallel()
	store := &busyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, func(c *authkit.Config) { c.Users, c.Sessions.Store = store, store })
	u, other := addUser(t, kit, email, password), addUser(t, kit, "other@example.com", password)
	for _, refusal := range []error{authkit.ErrConflict, authkit.ErrLastAdmin, authkit.ErrUserNotFound} {
		for name, change := range map[string]func(context.Context) error{
			"SetPassword": func(ctx context.Context) error { return kit.SetPassword(ctx, u.ID, "another password") },
			"DisableUser": func(ctx context.Context) error { return kit.DisableUser(ctx, u.ID) },
			"ResetUser":   func(ctx context.Context) error { return kit.ResetUser(ctx, u.ID) },
			"DeleteUser":  func(ctx context.Context) error { return kit.DeleteUser(ctx, u.ID) },
		} {
			require.NoError(t, kit.InTx(t.Context(), func(ctx context.Context) error {
				store.conflicts, store.err = 32, refusal
				require.ErrorIs(t, change(ctx), refusal, name)
				store.conflicts = 0
				_, err := kit.AddRole(ctx, other.ID, "after-"+strings.ToLower(name))
				return err
			}), "%s: %v", name, refusal)
		}
	}
	after, err := kit.User(t.Context(), other.ID)
	require.NoError(t, err)
	require.Len(t, after.Roles, 4)
}

// RG-15: the data of second factors and trusted devices belongs to the user
// without being listed again as UserData.
func TestDataOfFactorsIsUserData(t *testing.T) {
	t.Parallel()
	factor := &wipedFactor{fakeFactor: fakeFactor{method: "sms", right: "1"}}
	devices := &faultyDevices{store: &faultyStore{}}
	kit := newKit(t, together, withFactors(factor), func(c *authkit.Config) {
		c.UserData, c.TrustedDevices = []authkit.UserData{namedData("other")}, devices
	})
	u := addUser(t, kit, email, password)
	factor.users = []string{u.ID}
	export, err := kit.ExportUser(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"a phone"}, export["devices"])
	require.NoError(t, kit.DeleteUser(t.Context(), u.ID))
	require.Empty(t, factor.users)
	require.Equal(t, []string{u.ID}, devices.wiped)

	_, err = authkit.New(authkit.Config{Secret: []byte(testSecret), UserData: []authkit.UserData{nil}, SecondFactors: []authkit.SecondFactor{factor}})
	require.ErrorContains(t, err, "Config.UserData: the element 0 is nil")
}

func TestExportUser(t *testing.T) {
	t.Parallel()
	data := &notes{wiped: map[string]authkit.Wipe{}}
	kit := newKit(t, together, func(c *authkit.Config) { c.UserData = []authkit.UserData{data} })
	u := addUser(t, kit, email, password, "user")
	begin(t, kit)
	export, err := kit.ExportUser(t.Context(), u.ID)
	require.NoError(t, err)
	text, err := json.Marshal(export)
	require.NoError(t, err)
	require.Empty(t, secretTexts.FindString(string(text)))
	var decoded map[string]any
	require.NoError(t, json.Unmarshal(text, &decoded))
	require.Len(t, decoded, 3)
	require.Equal(t, email, decoded["account"].(map[string]any)["email"])
	require.Len(t, decoded["sessions"], 1)
	require.Equal(t, []any{"a note"}, decoded["notes"])
	data.err = errors.New("no notes")
	_, err = kit.ExportUser(t.Context(), u.ID)
	require.ErrorIs(t, err, data.err)
	_, err = kit.ExportUser(t.Context(), "nobody")
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
}

// A feature whose store fails is an event, and one whose client has left is none.
func TestFeatureOfAFailingStore(t *testing.T) {
	t.Parallel()
	var events recorder
	data := &notes{wiped: map[string]authkit.Wipe{}}
	kit := newKit(t, together, events.listen, func(c *authkit.Config) { c.UserData = []authkit.UserData{leavingData{data}} })
	u := addUser(t, kit, email, password)
	for name, call := range map[string]func(context.Context, string) error{
		"DeleteUser": kit.DeleteUser,
		"ResetUser":  kit.ResetUser,
		"ExportUser": func(ctx context.Context, id string) error { _, err := kit.ExportUser(ctx, id); return err },
	} {
		events.reset()
		data.err = fmt.Errorf("%w: no notes", authkit.ErrUnavailable)
		err := call(t.Context(), u.ID)
		require.ErrorIs(t, err, authkit.ErrUnavailable, name)
		require.Equal(t, []authkit.EventKind{authkit.EventStoreFailure}, events.kinds(), name)
		require.ErrorContains(t, events.last().Err, "UserData notes", name)

		events.reset()
		data.err = errors.New("no notes")
		ctx, leave := context.WithCancel(t.Context())
		err = call(context.WithValue(ctx, leavingData{}, leave), u.ID)
		require.ErrorIs(t, err, context.Canceled, name)
		require.NotErrorIs(t, err, authkit.ErrUnavailable, name)
		require.Empty(t, events.all(), name)
	}
}

// A leavingData fails after the client has left, if the context has a function
// for that.
type leavingData struct{ *notes }

func (d leavingData) leave(ctx context.Context) {
	if leave, ok := ctx.Value(leavingData{}).(context.CancelFunc); ok {
		leave()
	}
}

func (d leavingData) Wipe(ctx context.Context, userID string, what authkit.Wipe) error {
	d.leave(ctx)
	return d.notes.Wipe(ctx, userID, what)
}

func (d leavingData) Export(ctx context.Context, userID string) (any, error) {
	d.leave(ctx)
	return d.notes.Export(ctx, userID)
}

// RG-15: an account that is reset keeps nothing that lets anyone act as its user.
func TestResetUser(t *testing.T) {
	t.Parallel()
	for name, stores := range map[string]func(*authkit.Config){"one store": together, "two stores": apart} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			features := &notes{wiped: map[string]authkit.Wipe{}}
			var events recorder
			var store authkit.UserStore
			kit := newKit(t, stores, events.listen, func(c *authkit.Config) { c.UserData, store = []authkit.UserData{features}, c.Users })
			u := addUser(t, kit, "u@example.com", password, "user")
			token, err := kit.Login(t.Context(), u.Email, password)
			require.NoError(t, err)
			ticket, text := authkit.NewTicket("link", u.ID, time.Hour)
			require.NoError(t, kit.Tickets().PutTicket(t.Context(), ticket))

			began := time.Now()
			require.NoError(t, kit.ResetUser(t.Context(), u.ID))
			stored, err := store.UserByID(t.Context(), u.ID)
			require.NoError(t, err)
			require.True(t, stored.TokensValidAfter.After(began), "no credential from before is good, of whatever kind")
			require.Equal(t, map[string]authkit.Wipe{u.ID: authkit.WipeCredentials}, features.wiped)
			require.Equal(t, authkit.EventPasswordChange, events.last().Kind)
			_, err = kit.Login(t.Context(), u.Email, password)
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
			_, err = kit.Refresh(t.Context(), token.RefreshToken)
			require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
			_, _, err = kit.IdentifyToken(t.Context(), token.AccessToken)
			require.ErrorIs(t, err, authkit.ErrInvalidToken)
			_, err = authkit.RedeemTicket(t.Context(), kit.Tickets(), "link", text)
			require.ErrorIs(t, err, authkit.ErrInvalidTicket)
			after, err := kit.User(t.Context(), u.ID)
			require.NoError(t, err)
			require.Equal(t, []string{"user"}, after.Roles)

			require.NoError(t, kit.SetPassword(t.Context(), u.ID, newPassword))
			require.ErrorIs(t, kit.ResetUser(t.Context(), "no such account"), authkit.ErrUserNotFound)
			features.err = errors.New("down")
			err = kit.ResetUser(t.Context(), u.ID)
			require.ErrorIs(t, err, features.err)
			require.NotErrorIs(t, err, authkit.ErrUnavailable)
			_, err = kit.Login(t.Context(), u.Email, newPassword)
			if name == "one store" {
				require.NoError(t, err, "nothing has changed")
			} else {
				require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "what could be removed is")
			}
		})
	}
}

// A store that fails is one event, and none of it comes from within the transaction, where a
// listener that uses the store would wait for itself.
func TestResetUserStoreFails(t *testing.T) {
	t.Parallel()
	for name, stores := range map[string]func(*authkit.Config){"one store": func(*authkit.Config) {}, "two stores": func(c *authkit.Config) {
		c.Users = authkit.NewMemoryStore()
	}} {
		var events recorder
		store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
		var kit *authkit.Kit
		kit = newKit(t, events.listen, store.listen, stores, func(c *authkit.Config) {
			c.OnEvent = append(c.OnEvent, func(_ context.Context, e authkit.Event) {
				if e.Kind == authkit.EventStoreFailure {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					_, err := kit.CountUsers(ctx, authkit.UserQuery{})
					require.NoError(t, err)
				}
			})
		})
		u := addUser(t, kit, email, password)
		store.down(false, "RevokeSessions")
		events.reset()
		err := kit.ResetUser(t.Context(), u.ID)
		require.ErrorIs(t, err, authkit.ErrUnavailable, name)
		require.Equal(t, 1, strings.Count(err.Error(), authkit.ErrUnavailable.Error()), name)
		want := []authkit.EventKind{authkit.EventStoreFailure}
		if name == "two stores" {
			want = []authkit.EventKind{authkit.EventPasswordChange, authkit.EventStoreFailure}
		}
		require.Equal(t, want, events.kinds(), name)
	}
}
