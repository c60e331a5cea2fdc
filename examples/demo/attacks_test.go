package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/authkittest"
	attacks "github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/oidclogin"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/totp"
	"github.com/stretchr/testify/require"
)

// The demo withstands every attack of package contract that applies to it, and
// serves its users afterwards.
func TestAttacks(t *testing.T) {
	cfg := testConfig(t)
	cfg.throttle = throttleAccounts
	mails := &allMails{}
	cfg.mailer = mails
	provider, err := attacks.NewProvider()
	require.NoError(t, err)
	t.Cleanup(provider.Close)
	cfg.providers = []oidclogin.Provider{{Name: "idp", Issuer: provider.Issuer, ClientID: provider.ClientID, ClientSecret: provider.ClientSecret, Email: oidclogin.EmailVerified}}
	var hashes atomic.Int64
	cfg.hasher = countingHasher{cfg.hasher, &hashes}
	service, err := newServer(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, service.store.close()) })
	stop := runInBackground(service.run)
	t.Cleanup(func() { require.NoError(t, stop()) })

	system := authkit.WithSystem(t.Context(), "test")
	created := 0
	create := func(password string) (authkit.User, error) {
		created++
		return service.kit.CreateUser(system, authkit.User{Email: fmt.Sprintf("attacked-%d@example.com", created), FullName: "Attacked", Roles: []string{"user"}}, password)
	}
	target := attacks.Target{
		Handler: service.handler(),
		User:    attacks.Account{Name: "user@example.com", Password: userPassword},
		Admin:   attacks.Account{Name: "admin@example.com", Password: adminPassword},
		Routes: []attacks.Route{
			{Method: "GET", Path: "/", Access: attacks.Public},
			{Method: "GET", Path: "/healthz", Access: attacks.Public},
			{Method: "GET", Path: "/users/me", Access: attacks.LoggedIn},
			{Method: "GET", Path: "/users/items", Access: attacks.LoggedIn},
			{Method: "GET", Path: "/users/me/sessions", Access: attacks.LoggedIn},
			{Method: "GET", Path: "/admin/users", Access: attacks.AdminOnly},
			{Method: "GET", Path: "/admin/audit", Access: attacks.AdminOnly},
			{Method: "GET", Path: "/metrics", Access: attacks.AdminOnly},
			{Method: "POST", Path: "/admin/create_user", Access: attacks.AdminOnly, Body: `{"email":"made@example.com","full_name":"Made","password":"a passphrase that is long"}`},
		},
		Refresh: true, LogoutPath: "/logout", PasswordPath: "/users/me/password",
		Secret: cfg.secret, Hashes: func() int { return int(hashes.Load()) },
		NewAccount: func(ctx context.Context, password string) (attacks.Account, error) {
			u, err := create(password)
			if err == nil {
				u, err = service.kit.VerifyEmail(system, u.ID, u.Email)
			}
			return attacks.Account{Name: u.Email, Password: password}, err
		},
		Provider: provider, SocialPath: socialPath + "/idp", LinkPath: socialPath + "/idp/link", CookiePath: "/login",
		NewUnverified: func(ctx context.Context, password string) (attacks.Account, error) {
			u, err := create(password)
			return attacks.Account{Name: u.Email, Password: password}, err
		},
		Enroll: func(ctx context.Context, a attacks.Account) ([]string, error) {
			u, err := service.kit.UserByEmail(system, a.Name)
			if err != nil {
				return nil, err
			}
			app, err := service.kit.EnrollFactor(system, u.ID, totp.Method)
			if err != nil {
				return nil, err
			}
			codes, err := service.kit.ConfirmFactor(system, u.ID, totp.Method, authkittest.TOTPCode(t, app.(totp.Enrollment).URI))
			if err != nil {
				return nil, err
			}
			return codes.(totp.Codes).RecoveryCodes, nil
		},
		FactorMethod: authkit.MethodRecovery,
		APIKey: func(ctx context.Context, a attacks.Account) (string, error) {
			u, err := service.kit.UserByEmail(system, a.Name)
			if err != nil {
				return "", err
			}
			issued, err := service.keys.Create(system, apikey.OfUser(u.ID), apikey.Options{Name: "attack", Scopes: []string{"items:read"}})
			return issued.Text, err
		},
		Orgs:      attackedOrgs(system, service, mails),
		KeyPath:   "/items",
		ResetPath: "/auth/reset", RegisterPath: "/auth/register", Mails: mails.all,
		Disable: func(ctx context.Context, a attacks.Account) error {
			u, err := service.kit.UserByEmail(system, a.Name)
			if err != nil {
				return err
			}
			return service.kit.DisableUser(system, u.ID)
		},
	}
	before := runtime.NumGoroutine()
	attacks.Run(t, target)
	provider.Close()
	for runtime.NumGoroutine() > before+20 { // those of closed connections end soon; if not, the test times out
		time.Sleep(10 * time.Millisecond)
	}
}

// attackedOrgs describes the organizations of a server.
func attackedOrgs(system context.Context, service *server, mails *allMails) *attacks.Orgs {
	put := func(id string, a attacks.Account, role string, apply func(org.Member) error) (string, error) {
		u, err := service.kit.UserByEmail(system, a.Name)
		if err != nil {
			return "", err
		}
		return u.ID, apply(org.Member{OrgID: id, UserID: u.ID, Roles: []string{role}, JoinedAt: time.Now().UTC().Truncate(time.Microsecond)})
	}
	return &attacks.Orgs{
		New: func(ctx context.Context, owner attacks.Account) (string, string, error) {
			id := authkit.NewUserID()
			user, err := put(id, owner, org.Owner, func(m org.Member) error {
				return service.store.orgs.CreateOrg(ctx, org.Org{ID: id, Name: "Attacked", CreatedAt: m.JoinedAt}, m)
			})
			return id, user, err
		},
		Add: func(ctx context.Context, id string, a attacks.Account, role string) (string, error) {
			return put(id, a, role, func(m org.Member) error {
				_, version, err := service.store.orgs.Org(ctx, id)
				if err != nil {
					return err
				}
				return service.store.orgs.Apply(ctx, id, version, org.Change{PutMember: &m})
			})
		},
		Owner: org.Owner, Manager: "admin", Member: "member",
		Routes: []attacks.Route{
			{Method: "GET", Path: "/orgs/{org}/board", Access: attacks.LoggedIn},
			{Method: "GET", Path: "/orgs/{org}/members", Access: attacks.LoggedIn},
			{Method: "GET", Path: "/orgs/{org}/invitations", Access: attacks.AdminOnly},
			{Method: "POST", Path: "/orgs/{org}/invitations", Body: `{"email":"x@example.com","roles":["member"]}`, Access: attacks.AdminOnly},
			{Method: "DELETE", Path: "/orgs/{org}", Access: attacks.AdminOnly},
		},
		SetRole: attacks.Route{Method: "PUT", Path: "/orgs/{org}/members/{user}", Body: `{"roles":["{role}"]}`},
		Remove:  attacks.Route{Method: "DELETE", Path: "/orgs/{org}/members/{user}"},
		Invite:  attacks.Route{Method: "POST", Path: "/orgs/{org}/invitations", Body: `{"email":"{email}","roles":["{role}"]}`},
		Accept:  attacks.Route{Method: "POST", Path: "/orgs/accept", Body: `{"token":"{token}"}`},
		Invitation: func(_ context.Context, email string) (token string, err error) {
			for _, text := range mails.all() {
				if found := inviteToken.FindString(text); found != "" && strings.HasPrefix(text, "To: "+email+"\n") {
					token = found
				}
			}
			return token, nil
		},
		Switch: attacks.Route{Method: "POST", Path: "/orgs/{org}/switch"},
		Active: attacks.Route{Method: "GET", Path: "/board"},
	}
}

// allMails keeps all mails.
type allMails struct {
	mu    sync.Mutex
	texts []string
}

func (m *allMails) Send(_ context.Context, mail account.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.texts = append(m.texts, fmt.Sprintf("To: %s\n%s\n%s", mail.To, mail.Subject, mail.Text))
	return nil
}

func (m *allMails) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.texts)
}

// A countingHasher counts the hashes of a hasher.
type countingHasher struct {
	authkit.Hasher
	count *atomic.Int64
}

func (h countingHasher) Verify(password string, hash authkit.PasswordHash) error {
	h.count.Add(1)
	return h.Hasher.Verify(password, hash)
}
