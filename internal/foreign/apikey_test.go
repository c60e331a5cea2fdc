package foreign_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/foreign"
)

// keyed returns a Kit with API keys, and a Mux on which each policy has a route.
func keyed(t *testing.T, events *recorder) (*authkit.Kit, *foreign.APIKeys, authkit.User, *authkit.Mux) {
	t.Helper()
	keys := new(foreign.APIKeys)
	kit, user := newKit(t, events.listen, func(c *authkit.Config) { c.Authenticators = []authkit.Authenticator{keys} })
	mux := kit.NewMux()
	show := func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		_, _ = fmt.Fprintf(w, "%s %s %s write=%v", p.Kind, p.Credential, p.UserID, p.HasPermission("notes:write"))
	}
	mux.HandleFunc("GET /person", authkit.Authenticated(), show)
	mux.HandleFunc("GET /any", authkit.Authenticated().OrMachines(), show)
	mux.HandleFunc("GET /read", authkit.Permissions("notes:read").OrMachines(), show)
	mux.HandleFunc("GET /write", authkit.Permissions("notes:write").OrMachines(), show)
	mux.HandleFunc("GET /role", authkit.Roles("user").OrMachines(), show)
	mux.HandleFunc("GET /fresh", authkit.Authenticated().Fresh(time.Minute), show)
	return kit, keys, user, mux
}

func TestAPIKey(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, keys, user, mux := keyed(t, &events)
	key := keys.Create(user.ID, 0, "notes:read")
	for _, header := range [][]string{{"Authorization", "Bearer " + key}, {"Authorization", "bearer " + key}, {"X-API-Key", key}} {
		for path, want := range map[string]int{"/person": 403, "/any": 200, "/read": 200, "/write": 403, "/role": 403, "/fresh": 403} {
			w := ask(mux, "GET", path, header...)
			require.Equal(t, want, w.Code, "%s %s", header[0], path)
			if want == 200 {
				require.Equal(t, fmt.Sprintf("machine api_key %s write=false", user.ID), w.Body.String())
			}
		}
	}
	require.Equal(t, 403, ask(mux, "GET", "/person", "X-API-Key", key).Code)
	require.Equal(t, authkit.ReasonMachine, events.last().Reason)
	require.Equal(t, user.ID, events.last().UserID)

	// A person passes the same routes with an access token.
	for _, path := range []string{"/person", "/any", "/write", "/role", "/fresh"} {
		require.Equal(t, 200, ask(mux, "GET", path, "Authorization", "Bearer "+login(t, kit)).Code, path)
	}
}

func TestAPIKeyRefused(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, keys, user, mux := keyed(t, &events)
	key, other := keys.Create(user.ID, 0, "notes:read"), keys.Create(user.ID, 0)
	access := login(t, kit)
	for name, headers := range map[string][]string{
		"a wrong secret":           {"X-API-Key", key[:len(key)-1] + "?"},
		"an unknown ID":            {"X-API-Key", "ak_0000_secret"},
		"no secret":                {"X-API-Key", "ak_"},
		"something else":           {"X-API-Key", "zk_0000_secret"},
		"two keys":                 {"X-API-Key", key, "X-API-Key", other},
		"a key in both headers":    {"X-API-Key", key, "Authorization", "Bearer " + key},
		"a key and a token":        {"X-API-Key", key, "Authorization", "Bearer " + access},
		"two Authorization fields": {"Authorization", "Bearer " + access, "Authorization", "Bearer " + key},
	} {
		w := ask(mux, "GET", "/any", headers...)
		require.Equal(t, 401, w.Code, name)
		require.Equal(t, []string{`Bearer error="invalid_token"`}, w.Header().Values("WWW-Authenticate"), name)
		require.Equal(t, authkit.EventTokenRefused, events.last().Kind, name)
	}
	require.Equal(t, 401, ask(mux, "GET", "/any", "X-API-Key", key, "Authorization", "Bearer "+access).Code)
	require.Equal(t, authkit.ReasonTooMany, events.last().Reason)

	w := ask(mux, "GET", "/any")
	require.Equal(t, 401, w.Code)
	require.Equal(t, []string{"Bearer", "ApiKey"}, w.Header().Values("WWW-Authenticate"))

	keys.Revoke(key)
	require.Equal(t, 401, ask(mux, "GET", "/any", "X-API-Key", key).Code)
	require.Equal(t, 200, ask(mux, "GET", "/any", "X-API-Key", other).Code)
	require.Equal(t, 403, ask(mux, "GET", "/read", "X-API-Key", other).Code, "a key without scopes reads nothing")

	require.NoError(t, kit.DisableUser(t.Context(), user.ID))
	require.Equal(t, 400, ask(mux, "GET", "/any", "X-API-Key", other).Code)
	require.NoError(t, kit.DeleteUser(t.Context(), user.ID))
	require.Equal(t, 401, ask(mux, "GET", "/any", "X-API-Key", other).Code)
	require.Equal(t, authkit.ReasonUnknownUser, events.last().Reason)
}

// A key never has more than its owner has now.
func TestAPIKeyFollowsItsOwner(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, keys, user, mux := keyed(t, &events)
	key := keys.Create(user.ID, 0, "notes:read", "notes:write")
	require.Equal(t, 200, ask(mux, "GET", "/write", "X-API-Key", key).Code)
	_, err := kit.SetRoles(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, 403, ask(mux, "GET", "/write", "X-API-Key", key).Code)
}

func TestAPIKeyExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		_, keys, user, mux := keyed(t, &events)
		key := keys.Create(user.ID, time.Hour)
		time.Sleep(time.Hour - time.Second)
		require.Equal(t, 200, ask(mux, "GET", "/any", "X-API-Key", key).Code)
		time.Sleep(time.Second)
		require.Equal(t, 401, ask(mux, "GET", "/any", "X-API-Key", key).Code)
		require.Equal(t, authkit.ReasonExpired, events.last().Reason)
	})
}
