package passkey_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeytest"
)

// creation is the part of the options that tests look at.
type creation struct {
	RP          struct{ ID, Name string }
	User        struct{ ID, Name, DisplayName string }
	Challenge   string
	Timeout     int
	Attestation string

	PubKeyCredParams       []struct{ Alg int }
	ExcludeCredentials     []struct{ ID string }
	AuthenticatorSelection struct {
		ResidentKey, UserVerification string
		RequireResidentKey            bool
	}
}

func creationOf(t *testing.T, o passkey.Options) (c creation) {
	t.Helper()
	require.NoError(t, json.Unmarshal(o.PublicKey, &c))
	return c
}

// MF-09: the challenge has 256 random bits, and the user handle 64 random bytes.
func TestRegistration(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add("ann@example.com")
	ctx := a.first(u.Email)
	o, err := a.BeginRegistration(ctx, u.ID)
	require.NoError(t, err)
	c := creationOf(t, o)
	require.Equal(t, "example.com", c.RP.ID)
	require.Equal(t, "Example", c.RP.Name)
	require.Equal(t, "ann@example.com", c.User.Name)
	require.Equal(t, "Ann Example", c.User.DisplayName)
	require.Len(t, unb64(t, c.User.ID), 64)
	require.Greater(t, len(unb64(t, c.Challenge)), 43, "the secret of a ticket is 256 bits in base64url")
	require.Equal(t, "none", c.Attestation)
	require.Equal(t, 300_000, c.Timeout)
	require.Equal(t, "required", c.AuthenticatorSelection.ResidentKey)
	require.Equal(t, "required", c.AuthenticatorSelection.UserVerification)
	require.True(t, c.AuthenticatorSelection.RequireResidentKey)
	require.Len(t, c.PubKeyCredParams, 3)
	require.Empty(t, c.ExcludeCredentials)

	key := newAuthenticator(t)
	key.BackupEligible, key.BackedUp = true, true
	key.Transports = []string{"internal", "hybrid", "<script>", ""}
	a.kinds()
	r, err := a.FinishRegistration(ctx, u.ID, key.Create(o))
	require.NoError(t, err)
	require.Contains(t, a.kinds(), authkit.EventFactorAdded) // MF-07
	require.Equal(t, passkey.AcceptedCredentials{RPID: "example.com", UserID: c.User.ID, CredentialIDs: []string{b64(key.CredentialID)}}, r.Accepted)
	k := r.Passkey
	require.Equal(t, "Mac", k.Name)
	require.Equal(t, []string{"internal", "hybrid"}, k.Transports)
	require.Equal(t, "none", k.Attestation)
	require.True(t, k.UserVerified && k.BackupEligible && k.BackedUp, "MF-14")
	require.Equal(t, key.UserHandle, k.UserHandle)
	require.Zero(t, k.LastUsedAt)
	list, err := a.List(ctx, u.ID)
	require.NoError(t, err)
	require.Equal(t, []passkey.Passkey{k}, list)

	// The next options have the same handle, and exclude the authenticator.
	o, err = a.BeginRegistration(ctx, u.ID)
	require.NoError(t, err)
	again := creationOf(t, o)
	require.Equal(t, c.User.ID, again.User.ID)
	require.NotEqual(t, c.Challenge, again.Challenge)
	require.Equal(t, b64(key.CredentialID), again.ExcludeCredentials[0].ID)
	other, err := a.BeginRegistration(a.t.Context(), a.add("bob@example.com").ID)
	require.NoError(t, err)
	require.NotEqual(t, c.User.ID, creationOf(t, other).User.ID)
}

// MF-21: the name is that of the provider, or else of the device.
func TestNames(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add("ann@example.com")
	key := newAuthenticator(t)
	copy(key.AAGUID[:], unhex(t, "bada5566a7aa401fbd9645619a55120d"))
	k := a.register(a.first(u.Email), key)
	require.Equal(t, "bada5566-a7aa-401f-bd96-45619a55120d", k.AAGUID)
	require.Equal(t, "1Password", k.Name)
	for device, want := range map[string]string{
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)": "iPhone", "Mozilla/5.0 (Linux; Android 10; K)": "Android device",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64)": "Windows computer", "curl/8.0": "Passkey", "": "Passkey",
	} {
		ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Device: device})
		o, err := a.BeginRegistration(ctx, u.ID)
		require.NoError(t, err)
		r, err := a.FinishRegistration(ctx, u.ID, newAuthenticator(t).Create(o))
		require.NoError(t, err)
		require.Equal(t, want, r.Passkey.Name)
	}
}

func unhex(t *testing.T, text string) (b []byte) {
	t.Helper()
	_, err := fmt.Sscanf(text, "%x", &b)
	require.NoError(t, err)
	return b
}

// MF-09: each deviation from the ceremony is refused, and uses up its challenge.
func TestRegistrationRefused(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u, bob := a.add("ann@example.com"), a.add("bob@example.com")
	ctx := a.first(u.Email)
	for name, change := range map[string]func(*passkeytest.Authenticator){
		"another origin":             func(k *passkeytest.Authenticator) { k.Origin = "https://login.example.com.evil.example" },
		"an origin without TLS":      func(k *passkeytest.Authenticator) { k.Origin = "http://login.example.com" },
		"an origin of another port":  func(k *passkeytest.Authenticator) { k.Origin = "https://login.example.com:8443" },
		"a frame of another origin":  func(k *passkeytest.Authenticator) { k.ClientData = func(d map[string]any) { d["crossOrigin"] = true } },
		"another RP ID":              func(k *passkeytest.Authenticator) { k.RPID = "login.example.com" },
		"no user verification":       func(k *passkeytest.Authenticator) { k.UserVerified = false },
		"no user presence":           func(k *passkeytest.Authenticator) { k.UserPresent = false },
		"backed up and not eligible": func(k *passkeytest.Authenticator) { k.BackedUp = true },
		"the type of a login": func(k *passkeytest.Authenticator) {
			k.ClientData = func(d map[string]any) { d["type"] = "webauthn.get" }
		},
		"an algorithm not asked for": func(k *passkeytest.Authenticator) { k.Attestation = func(o map[string]any) { o["alg"] = -36 } },
		"a statement that is not one": func(k *passkeytest.Authenticator) {
			k.Attestation = func(o map[string]any) { o["attStmt"] = map[string]any{"sig": []byte{1}} }
		},
		"a credential without an ID": func(k *passkeytest.Authenticator) { k.CredentialID = nil },
	} {
		o, err := a.BeginRegistration(ctx, u.ID)
		require.NoError(t, err)
		key := newAuthenticator(t)
		good := *key
		change(key)
		_, err = a.FinishRegistration(ctx, u.ID, key.Create(o))
		require.ErrorIs(t, err, authkit.ErrInvalidCode, name)
		if key.CredentialID != nil {
			_, err = a.FinishRegistration(ctx, u.ID, good.Create(o))
			require.ErrorIs(t, err, authkit.ErrInvalidCode, "%s: the challenge was used", name)
		}
	}

	// Challenges of other ceremonies and users, and old ones.
	key := newAuthenticator(t)
	first, err := a.BeginRegistration(ctx, u.ID)
	require.NoError(t, err)
	second, err := a.BeginRegistration(ctx, u.ID)
	require.NoError(t, err)
	bobs, err := a.BeginRegistration(t.Context(), bob.ID)
	require.NoError(t, err)
	login, err := a.BeginLogin(ctx)
	require.NoError(t, err)
	factor, err := a.BeginFactor(ctx)
	require.NoError(t, err)
	for name, o := range map[string]passkey.Options{"a voided challenge": first, "that of another user": bobs, "that of a login": login, "that of a factor": factor} {
		_, err = a.FinishRegistration(ctx, u.ID, key.Create(o))
		require.ErrorIs(t, err, authkit.ErrInvalidCode, name)
	}
	for _, text := range []string{"", "{}", "[]", "null", `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`} {
		_, err = a.FinishRegistration(ctx, u.ID, []byte(text))
		require.ErrorIs(t, err, authkit.ErrInvalidCode, text)
	}
	_, err = a.FinishRegistration(ctx, u.ID, make([]byte, 1<<17))
	require.ErrorIs(t, err, authkit.ErrInvalidCode)
	list, err := a.List(ctx, u.ID)
	require.NoError(t, err)
	require.Empty(t, list)

	response := key.Create(second)
	_, err = a.FinishRegistration(ctx, u.ID, response)
	require.NoError(t, err)
	_, err = a.FinishRegistration(ctx, u.ID, response)
	require.ErrorIs(t, err, authkit.ErrInvalidCode, "a response is used once")
	o, err := a.BeginRegistration(t.Context(), bob.ID)
	require.NoError(t, err)
	_, err = a.FinishRegistration(t.Context(), bob.ID, key.Create(o))
	require.ErrorIs(t, err, passkey.ErrExists, "a credential has one user")
}

// A response has at most 64 KiB.
func TestResponseLength(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add("ann@example.com")
	key := newAuthenticator(t)
	padded := func(response []byte, size int) []byte {
		return append(response, strings.Repeat(" ", size-len(response))...)
	}
	for _, c := range []struct {
		size int
		want error
	}{{64<<10 + 1, authkit.ErrInvalidCode}, {64 << 10, nil}} {
		o, err := a.BeginRegistration(t.Context(), u.ID)
		require.NoError(t, err)
		_, err = a.FinishRegistration(t.Context(), u.ID, padded(key.Create(o), c.size))
		require.ErrorIs(t, err, c.want)
	}
	for _, c := range []struct {
		size int
		want error
	}{{64<<10 + 1, authkit.ErrInvalidCredentials}, {64 << 10, nil}} {
		o, err := a.BeginLogin(a.ctx())
		require.NoError(t, err)
		_, err = a.Login(a.ctx(), padded(key.Get(o), c.size))
		require.ErrorIs(t, err, c.want)
	}
}

// Transports are short words of a to z, 0 to 9 and hyphens, at most eight.
func TestTransports(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add("ann@example.com")
	key := newAuthenticator(t)
	long := strings.Repeat("x", 32)
	key.Transports = []string{"az-09", long, long + "x", "", "a_b", "a/b", "a:b", "a`b", "a{b", "A", "_a", "1", "2", "3", "4", "5", "6", "7"}
	o, err := a.BeginRegistration(t.Context(), u.ID)
	require.NoError(t, err)
	r, err := a.FinishRegistration(t.Context(), u.ID, key.Create(o))
	require.NoError(t, err)
	require.Equal(t, []string{"az-09", long, "1", "2", "3", "4", "5", "6"}, r.Passkey.Transports)
}

// The name is that of the device of the context, as behind a proxy.
func TestNameOfTheClient(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add("ann@example.com")
	token, err := a.kit.Login(t.Context(), u.Email, password)
	require.NoError(t, err)
	mux := a.server()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(authkit.WithClient(r.Context(), authkit.ClientInfo{Address: "192.0.2.1", Device: "Mozilla/5.0 (iPhone)"})))
	})
	o := decode[passkey.Options](t, call(h, "POST", "/passkeys/register/options", "", a.bearer(token)...), 200)
	r := decode[passkey.Registered](t, call(h, "POST", "/passkeys/register", string(newAuthenticator(t).Create(o)), a.bearer(token)...), 201)
	require.Equal(t, "iPhone", r.Passkey.Name)
}

// MF-09: a challenge is valid for five minutes.
func TestRegistrationExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := a.add("ann@example.com")
		for wait, want := range map[time.Duration]error{5*time.Minute - time.Second: nil, 5 * time.Minute: authkit.ErrInvalidCode} {
			o, err := a.BeginRegistration(t.Context(), u.ID)
			require.NoError(t, err)
			time.Sleep(wait)
			_, err = a.FinishRegistration(t.Context(), u.ID, newAuthenticator(t).Create(o))
			require.ErrorIs(t, err, want)
		}
	})
}

// MF-07, MF-12: who may register a passkey. The login must be recent, and must
// have used the factor that the user has.
func TestRegistrationForbidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, options{kit: func(c *authkit.Config) { c.AdminRole = "admin" }})
		u, bob := a.add("ann@example.com"), a.add("bob@example.com")
		ann := a.first(u.Email)
		_, err := a.BeginRegistration(ann, bob.ID)
		require.ErrorIs(t, err, authkit.ErrForbidden)
		o, err := a.BeginRegistration(t.Context(), bob.ID)
		require.NoError(t, err)
		response := newAuthenticator(t).Create(o)
		_, err = a.FinishRegistration(ann, bob.ID, response)
		require.ErrorIs(t, err, authkit.ErrForbidden)
		_, err = a.FinishRegistration(t.Context(), bob.ID, response)
		require.NoError(t, err, "the challenge of bob is unused")

		// Not even an administrator, who can remove passkeys of others.
		admin := a.first(a.add("root@example.com", "admin").Email)
		o, err = a.BeginRegistration(t.Context(), bob.ID)
		require.NoError(t, err)
		_, err = a.FinishRegistration(admin, bob.ID, newAuthenticator(t).Create(o))
		require.ErrorIs(t, err, authkit.ErrForbidden)
		_, err = a.BeginRegistration(admin, bob.ID)
		require.ErrorIs(t, err, authkit.ErrForbidden)

		// A login that is five minutes old, or did not use the passkey.
		time.Sleep(4 * time.Minute)
		o, err = a.BeginRegistration(ann, u.ID)
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		_, err = a.FinishRegistration(ann, u.ID, newAuthenticator(t).Create(o))
		_, old := errors.AsType[*authkit.StepUpError](err)
		require.True(t, old, "%v", err)
		fresh := a.first(u.Email)
		weak := a.first(u.Email)
		a.register(fresh, newAuthenticator(t))
		o, err = a.BeginRegistration(weak, u.ID)
		require.NoError(t, err)
		_, err = a.FinishRegistration(weak, u.ID, newAuthenticator(t).Create(o))
		_, without := errors.AsType[*authkit.StepUpError](err)
		require.True(t, without, "%v", err)
	})
}

// MF-21: there are at most 20.
func TestTooMany(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add("ann@example.com")
	ctx := authkit.WithSystem(t.Context(), "test")
	var last passkey.Options
	for i := range passkey.MaxPerUser {
		o, err := a.BeginRegistration(ctx, u.ID)
		require.NoError(t, err)
		if i == passkey.MaxPerUser-1 {
			last = o
			break
		}
		_, err = a.FinishRegistration(ctx, u.ID, newAuthenticator(t).Create(o))
		require.NoError(t, err)
	}
	// The options of two passkeys may be under way when only one more fits.
	handle, err := a.keys.UserHandle(ctx, u.ID, nil)
	require.NoError(t, err)
	require.NoError(t, a.keys.AddPasskey(ctx, passkey.Passkey{ID: "another", UserID: u.ID, UserHandle: handle}, passkey.MaxPerUser))
	_, err = a.FinishRegistration(ctx, u.ID, newAuthenticator(t).Create(last))
	require.ErrorIs(t, err, passkey.ErrTooMany)
	_, err = a.BeginRegistration(ctx, u.ID)
	require.ErrorIs(t, err, passkey.ErrTooMany)
	require.ErrorIs(t, err, authkit.ErrFactorEnrolled)
	n, err := a.factor.Count(ctx, u.ID)
	require.NoError(t, err)
	require.Equal(t, 20, n)
}

// The flows of the Kit for every factor register passkeys too.
func TestEnroller(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add("ann@example.com")
	ctx := a.first(u.Email)
	begin := func(ctx context.Context) passkey.Options {
		data, err := a.kit.EnrollFactor(ctx, u.ID, passkey.Method)
		require.NoError(t, err)
		return data.(passkey.Options)
	}
	key := newAuthenticator(t)
	key.Origin = "https://evil.example"
	_, err := a.kit.ConfirmFactor(ctx, u.ID, passkey.Method, string(key.Create(begin(ctx))))
	require.ErrorIs(t, err, authkit.ErrInvalidCode)
	key = newAuthenticator(t)
	data, err := a.kit.ConfirmFactor(ctx, u.ID, passkey.Method, string(key.Create(begin(ctx))))
	require.NoError(t, err)
	require.Equal(t, key.CredentialID, data.(passkey.Passkey).CredentialID)
	token, err := a.login(key)
	require.NoError(t, err)
	ctx = a.as(token)
	_, err = a.kit.ConfirmFactor(ctx, u.ID, passkey.Method, string(key.Create(begin(ctx))))
	require.ErrorIs(t, err, authkit.ErrInvalidCode, "the credential is registered")
	require.NoError(t, a.kit.RemoveFactor(ctx, u.ID, passkey.Method))
	list, err := a.List(ctx, u.ID)
	require.NoError(t, err)
	require.Empty(t, list)
	accepted, err := a.Accepted(ctx, u.ID)
	require.NoError(t, err)
	require.Empty(t, accepted.CredentialIDs)
	require.Equal(t, b64(key.UserHandle), accepted.UserID)
}

// A user who must have a factor and has none registers a passkey during the
// login.
func TestEnrollAtLogin(t *testing.T) {
	t.Parallel()
	a := newApp(t, options{kit: func(c *authkit.Config) { c.RequireFactors = authkit.FactorPolicy{Everyone: true} }})
	u := a.add("ann@example.com")
	_, err := a.kit.Login(a.ctx(), u.Email, password)
	c, ok := errors.AsType[*authkit.ChallengeError](err)
	require.True(t, ok, "%v", err)
	require.True(t, c.Enroll)
	data, err := a.kit.EnrollChallenge(a.ctx(), c.Token, passkey.Method)
	require.NoError(t, err)
	key := newAuthenticator(t)
	token, err := a.kit.AnswerChallenge(a.ctx(), c.Token, passkey.Method, string(key.Create(data.(passkey.Options))))
	require.NoError(t, err)
	require.Equal(t, key.CredentialID, token.Enrollment.(passkey.Passkey).CredentialID)
	require.NoError(t, a.answer(u.Email, key))
	_, err = a.login(key)
	require.NoError(t, err)
}

// A passkey whose user was deleted or reset meanwhile is not registered.
func TestRegistrationOfAResetUser(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add("ann@example.com")
	o, err := a.BeginRegistration(t.Context(), u.ID)
	require.NoError(t, err)
	require.NoError(t, a.factor.Wipe(t.Context(), u.ID, authkit.WipeCredentials))
	_, err = a.FinishRegistration(t.Context(), u.ID, newAuthenticator(t).Create(o))
	require.ErrorIs(t, err, authkit.ErrInvalidCode)
	o, err = a.BeginRegistration(t.Context(), u.ID)
	require.NoError(t, err)
	require.NoError(t, a.kit.DeleteUser(t.Context(), u.ID))
	_, err = a.FinishRegistration(t.Context(), u.ID, newAuthenticator(t).Create(o))
	require.ErrorIs(t, err, authkit.ErrInvalidCode)
	_, err = a.BeginRegistration(t.Context(), u.ID)
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
}
