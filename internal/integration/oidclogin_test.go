package integration_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
	"github.com/authkit-go/authkit/oidclogin/oidcloginsql"
	"github.com/authkit-go/authkit/oidclogin/oidclogintest"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/storetest"
)

func TestIdentityStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		oidclogintest.TestStore(t, func(t *testing.T) oidclogin.Store {
			return oidcloginsql.New(storeWith(t, d, oidcloginsql.Migrations()))
		})
	})
}

// OA-15: an identity is unique within a tenant, and tenants do not see those of
// others.
func TestIdentityTenants(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		id := oidclogin.Identity{ID: "1", UserID: "u", Provider: "p", Issuer: "https://idp.example.com", Subject: "s", CreatedAt: time.Now()}
		var stores []*oidcloginsql.Store
		for _, tenant := range []string{"", "a", "b"} {
			s := oidcloginsql.New(storeOn(t, pool, d, &sqlstore.Options{Tenant: tenant}))
			_, err := s.IdentityBySubject(t.Context(), id.Issuer, id.Subject)
			require.ErrorIs(t, err, oidclogin.ErrNoIdentity)
			require.NoError(t, s.CreateIdentity(t.Context(), id))
			stores = append(stores, s)
		}
		require.NoError(t, stores[1].DeleteIdentities(t.Context(), "u"))
		_, err := stores[2].IdentityBySubject(t.Context(), id.Issuer, id.Subject)
		require.NoError(t, err)
	})
}

// faultyIdentities is a store of identities whose calls can fail.
type faultyIdentities struct {
	oidclogin.Store
	f *faults
}

func (s *faultyIdentities) CreateIdentity(ctx context.Context, id oidclogin.Identity) error {
	if err := s.f.next("CreateIdentity"); err != nil {
		return err
	}
	return s.Store.CreateIdentity(ctx, id)
}

func (s *faultyIdentities) IdentityBySubject(ctx context.Context, issuer, subject string) (oidclogin.Identity, error) {
	if err := s.f.next("IdentityBySubject"); err != nil {
		return oidclogin.Identity{}, err
	}
	return s.Store.IdentityBySubject(ctx, issuer, subject)
}

func (s *faultyIdentities) IdentitiesByUser(ctx context.Context, userID string) ([]oidclogin.Identity, error) {
	if err := s.f.next("IdentitiesByUser"); err != nil {
		return nil, err
	}
	return s.Store.IdentitiesByUser(ctx, userID)
}

func (s *faultyIdentities) SetTokens(ctx context.Context, userID, id string, tokens []byte) error {
	if err := s.f.next("SetTokens"); err != nil {
		return err
	}
	return s.Store.SetTokens(ctx, userID, id, tokens)
}

func (s *faultyIdentities) DeleteIdentity(ctx context.Context, userID, id string) error {
	if err := s.f.next("DeleteIdentity"); err != nil {
		return err
	}
	return s.Store.DeleteIdentity(ctx, userID, id)
}

func (s *faultyIdentities) DeleteIdentities(ctx context.Context, userID string) error {
	if err := s.f.next("DeleteIdentities"); err != nil {
		return err
	}
	return s.Store.DeleteIdentities(ctx, userID)
}

// A smallProvider logs in the user whose subject is the parameter login_hint of
// the request, or "ann".
type smallProvider struct {
	*httptest.Server
	key    *rsa.PrivateKey
	mu     sync.Mutex
	codes  map[string]url.Values
	issued []string // all tokens
}

func newSmallProvider(t testing.TB) *smallProvider {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p := &smallProvider{key: key, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"keys": []any{map[string]string{"kty": "RSA", "kid": "k", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": "AQAB"}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		code, request := rand.Text(), r.URL.Query()
		p.codes[code] = request
		http.Redirect(w, r, request.Get("redirect_uri")+"?code="+code+"&state="+request.Get("state"), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		request, subject := p.codes[r.PostFormValue("code")], "ann"
		if hint := request.Get("login_hint"); hint != "" {
			subject = hint
		}
		at := time.Now()
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iss": p.URL, "aud": "client", "sub": subject, "email": subject + "@example.com", "email_verified": true, "nonce": request.Get("nonce"),
			"iat": at.Unix(), "exp": at.Add(time.Hour).Unix(),
		})
		token.Header["kid"] = "k"
		signed, err := token.SignedString(key)
		if err != nil {
			http.Error(w, "signing", http.StatusInternalServerError)
			return
		}
		access := rand.Text()
		p.issued = append(p.issued, access, signed)
		answer(w, map[string]any{"access_token": access, "token_type": "Bearer", "id_token": signed})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// A socialApp is a program with logins of a provider.
type socialApp struct {
	*oidclogin.Logins
	kit      *authkit.Kit
	store    oidclogin.Store
	provider *smallProvider
	handler  http.Handler
	calls    *faults
}

func newSocialApp(t testing.TB, store storetest.TransactorStore, identities oidclogin.Store, p *smallProvider) *socialApp {
	t.Helper()
	f := new(faults)
	a := &socialApp{store: identities, provider: p, calls: f}
	wrapped, ids := &faultyAccounts{store, f}, &faultyIdentities{identities, f}
	var err error
	a.kit, err = authkit.New(authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:     wrapped,
		Sessions:  authkit.SessionConfig{Store: wrapped, ReuseGrace: time.Minute, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		UserData:  []authkit.UserData{oidclogin.UserData(ids)},
		Logger:    slog.New(slog.DiscardHandler),

		StoreTimeout: 50 * time.Second,
	})
	require.NoError(t, err)
	a.Logins, err = oidclogin.New(a.kit, oidclogin.Config{
		BaseURL: "https://app.example.com/oidc", Store: ids, Keys: [][]byte{[]byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352")},
		Providers: []oidclogin.Provider{{Name: "idp", Issuer: p.URL, ClientID: "client", ClientSecret: "secret", Email: oidclogin.EmailLinks, KeepTokens: true}},
	})
	require.NoError(t, err)
	mux := a.kit.NewMux()
	a.Mount(mux)
	mux.HandleFunc("GET /me", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		_, _ = w.Write([]byte(p.UserID))
	})
	a.handler = mux
	return a
}

func onEachSocial(t *testing.T, test func(t *testing.T, a *socialApp)) {
	t.Helper()
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		test(t, newSocialApp(t, authkit.NewMemoryStore(), oidclogin.NewMemoryStore(), newSmallProvider(t)))
	})
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		test(t, newSocialApp(t, s, oidcloginsql.New(s), newSmallProvider(t)))
	})
}

// get sends a request with cookies, which it updates.
func (a *socialApp) get(t testing.TB, target string, cookies map[string]string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	for name, value := range cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		cookies[c.Name] = c.Value
	}
	return w
}

// callback goes as far as the callback of a login, for a subject.
func (a *socialApp) callback(t testing.TB, subject string, cookies map[string]string) string {
	t.Helper()
	w := a.get(t, "/oidc/idp", cookies)
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Header().Get("Location")+"&login_hint="+subject, nil)
	require.NoError(t, err)
	response, err := new(http.Transport).RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.Header.Get("Location")
}

// login logs a subject in, and returns the account.
func (a *socialApp) login(t testing.TB, subject string) string {
	t.Helper()
	cookies := map[string]string{}
	w := a.get(t, a.callback(t, subject, cookies), cookies)
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	return a.get(t, "/me", cookies).Body.String()
}

// OA-15: any number of callbacks at once make one account, on every store. An
// account that exists gets the identity once.
func TestSocialLoginsAtOnce(t *testing.T) {
	t.Parallel()
	onEachSocial(t, func(t *testing.T, a *socialApp) {
		for _, subject := range []string{"new", "there"} {
			if subject == "there" {
				u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: "there@example.com"}, accountPassword)
				require.NoError(t, err)
				_, err = a.kit.VerifyEmail(t.Context(), u.ID, u.Email)
				require.NoError(t, err)
			}
			var group sync.WaitGroup
			begin := make(chan struct{})
			for range 16 {
				cookies := map[string]string{}
				callback := a.callback(t, subject, cookies)
				group.Go(func() {
					<-begin
					// A login whose account changes meanwhile is refused.
					if w := a.get(t, callback, cookies); w.Code != http.StatusSeeOther && w.Code != http.StatusUnauthorized {
						t.Error(w.Code, w.Body)
					}
				})
			}
			close(begin)
			group.Wait()
			id, err := a.store.IdentityBySubject(t.Context(), a.provider.URL, subject)
			require.NoError(t, err)
			require.Equal(t, id.UserID, a.login(t, subject))
			list, err := a.Identities(t.Context(), id.UserID)
			require.NoError(t, err)
			require.Len(t, list, 1)
		}
		n, err := a.kit.CountUsers(t.Context(), authkit.UserQuery{})
		require.NoError(t, err)
		require.Equal(t, 2, n)
	})
}

// OA-09: of several callers that unlink all identities of a user at once, none
// removes the last one.
func TestSocialUnlinkAtOnce(t *testing.T) {
	t.Parallel()
	onEachSocial(t, func(t *testing.T, a *socialApp) {
		userID := a.login(t, "ann")
		for _, subject := range []string{"b", "c", "d"} {
			require.NoError(t, a.store.CreateIdentity(t.Context(), oidclogin.Identity{ID: subject, UserID: userID, Provider: "idp", Issuer: a.provider.URL, Subject: subject, CreatedAt: time.Now()}))
		}
		list, err := a.Identities(t.Context(), userID)
		require.NoError(t, err)
		var group sync.WaitGroup
		for i := range 16 {
			group.Go(func() {
				for {
					err := a.Unlink(t.Context(), userID, list[i%len(list)].ID)
					if errors.Is(err, authkit.ErrConflict) {
						continue
					}
					if err != nil && !errors.Is(err, oidclogin.ErrLastLogin) && !errors.Is(err, oidclogin.ErrNoIdentity) {
						t.Error(err)
					}
					return
				}
			})
		}
		group.Wait()
		list, err = a.Identities(t.Context(), userID)
		require.NoError(t, err)
		require.Len(t, list, 1)
	})
}

// TestSocialFaults fails each call of a store in turn, and the commit. An
// account and its identity are made together or not at all. The next login
// succeeds.
func TestSocialFaults(t *testing.T) {
	t.Parallel()
	onEachSocial(t, func(t *testing.T, a *socialApp) {
		for _, kind := range []string{"first", "second", "squatted"} {
			failed := 0
			for n := 1; ; n++ {
				subject := strings.ToLower(kind + rand.Text())
				email, squatter := subject+"@example.com", ""
				switch kind {
				case "second":
					a.login(t, subject)
				case "squatted":
					u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: email}, accountPassword)
					require.NoError(t, err)
					squatter = u.ID
				}
				cookies := map[string]string{}
				callback := a.callback(t, subject, cookies)
				a.calls.at(n)
				w := a.get(t, callback, cookies)
				hit := a.calls.stop()
				if hit == "" {
					require.Equal(t, http.StatusSeeOther, w.Code, "%s: %s", kind, w.Body)
					break
				}
				failed++
				require.Equal(t, http.StatusServiceUnavailable, w.Code, "%s: call %d, %s: %s", kind, n, hit, w.Body)
				id, err := a.store.IdentityBySubject(t.Context(), a.provider.URL, subject)
				identified := err == nil
				u, err := a.kit.UserByEmail(t.Context(), email)
				if kind != "squatted" {
					require.Equal(t, identified, err == nil, "%s: call %d, %s", kind, n, hit)
				} else {
					require.NoError(t, err)
					require.Equal(t, identified, a.kit.VerifyPassword(t.Context(), squatter, accountPassword) != nil, "%s: call %d, %s", kind, n, hit)
				}
				require.True(t, !identified || id.UserID == u.ID)
				if kind == "squatted" && n%5 != 1 { // each takes a second, until the cut-off is over
					continue
				}
				userID := a.login(t, subject)
				require.True(t, squatter == "" || squatter == userID)
			}
			require.Greater(t, failed, 0, kind)
			t.Logf("%s login: %d calls", kind, failed)
		}
	})
}

// OA-13, OA-17: a copy of all tables shows no token, no state, no cookie and no
// verifier.
func TestSocialDump(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		a := newSocialApp(t, s, oidcloginsql.New(s), newSmallProvider(t))
		a.login(t, "ann")
		cookies := map[string]string{}
		callback, err := url.Parse(a.callback(t, "bob", cookies)) // a flow that waits
		require.NoError(t, err)
		dump := ""
		for _, table := range []string{"users", "sessions", "tickets", "oidc_identities"} {
			dump += dumpOf(t, s, table)
		}
		require.Contains(t, dump, "ann@example.com")
		_, state, _ := strings.Cut(callback.Query().Get("state"), ".")
		secrets := append([]string{state, cookies["__Host-oidclogin"]}, a.provider.issued...)
		for _, secret := range secrets {
			require.NotEmpty(t, secret)
			require.NotContains(t, dump, secret)
		}
	})
}
