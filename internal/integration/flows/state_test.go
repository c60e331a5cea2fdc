package flows_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

// A state is all that an app keeps, in parts.
type state map[string]string

// state returns the state after all mails were delivered.
func (a *app) state() state {
	a.t.Helper()
	ctx, s := a.t.Context(), state{}
	a.deliver()
	put := func(part, name string, v any) { s[part] += fmt.Sprintf("%s: %v\n", name, v) }
	users, err := a.stores.users.ListUsers(ctx, authkit.UserQuery{Limit: 100})
	require.NoError(a.t, err)
	slices.SortFunc(users, func(x, y authkit.User) int { return strings.Compare(x.FullName+x.Email, y.FullName+y.Email) })
	for _, u := range users {
		name := u.FullName
		put("accounts", name, fmt.Sprint(u.Email, u.Roles, u.Disabled, !u.EmailVerifiedAt.IsZero(), u.LockedUntil.IsZero()))
		stored, err := a.stores.users.UserByID(ctx, u.ID)
		require.NoError(a.t, err)
		which := "none"
		for _, p := range []string{password, nextPassword} {
			if stored.PasswordHash != "" && hasher.Verify(p, stored.PasswordHash) == nil {
				which = p
			}
		}
		put("accounts", name+"'s password", which)
		sessions, err := a.kit.Sessions(ctx, u.ID)
		require.NoError(a.t, err)
		put("sessions", name, len(sessions))
		n := 0
		for _, x := range sessions {
			active, err := a.stores.orgs.Active(ctx, x.ID)
			require.True(a.t, err == nil || errors.Is(err, authkit.ErrNotFound), err)
			if active != "" {
				n++
			}
		}
		put("active", name, n)
		a.userState(u, put)
	}
	services, err := a.stores.keys.Services(ctx, "", 100)
	require.NoError(a.t, err)
	for _, x := range services {
		put("services", x.ID, x.Roles)
		put("keys", x.ID, a.keysOf(apikey.OfService(x.ID)))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, address := range slices.Sorted(maps.Keys(a.mails)) {
		for _, text := range a.mails[address] {
			subject, _, _ := strings.Cut(text, "\n")
			put("mails", address, sixDigits.ReplaceAllString(subject, "CODE"))
		}
	}
	put("attempts", "failed", a.failed)
	return s
}

// userState adds the records of the features for a user.
func (a *app) userState(u authkit.User, put func(part, name string, v any)) {
	a.t.Helper()
	ctx, name := a.t.Context(), u.FullName
	r, err := a.stores.apps.Record(ctx, u.ID)
	require.NoError(a.t, err)
	put("factors", name+"'s app", len(r.Secret) > 0)
	put("pending", name+"'s app", len(r.Pending) > 0)
	put("codes", name+"'s recovery codes", r.CodesLeft)
	list, err := a.stores.credentials.PasskeysByUser(ctx, u.ID)
	require.NoError(a.t, err)
	for _, p := range list {
		put("factors", name+"'s passkey", p.Name)
	}
	devices, err := a.stores.devices.Devices(ctx, u.ID)
	require.NoError(a.t, err)
	put("devices", name, len(devices))
	put("keys", name, a.keysOf(apikey.OfUser(u.ID)))
	memberships, err := a.stores.orgs.Memberships(ctx, u.ID)
	require.NoError(a.t, err)
	for _, m := range memberships {
		put("orgs", name+" at "+m.Org.Name, m.Roles)
		invitations, err := a.stores.orgs.Invitations(ctx, m.Org.ID)
		require.NoError(a.t, err)
		for _, i := range invitations {
			put("invitations", m.Org.Name, fmt.Sprint(i.Email, i.Roles))
		}
	}
}

// keysOf returns the names of keys.
func (a *app) keysOf(o apikey.Owner) (names []string) {
	a.t.Helper()
	list, err := a.stores.keys.KeysByOwner(a.t.Context(), o)
	require.NoError(a.t, err)
	for _, k := range list {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return names
}

// features are the parts of the state that the features keep about a user.
var features = []string{"factors", "pending", "codes", "devices", "keys", "orgs", "invitations"}
