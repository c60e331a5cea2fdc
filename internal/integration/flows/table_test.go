package flows_test

import (
	"context"
	"errors"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/passkey/passkeytest"
)

// call returns a step that calls a function of the program.
func call[T any](f func(ctx context.Context) (T, error)) step {
	return func(ctx context.Context) error { _, err := f(ctx); return err }
}

// repeated are the statuses of a step that was done before: its session has
// ended, or its object is gone.
var repeated = []int{400, 401, 404, 409, 422}

var flows = map[string]flow{
	"login":                   {prepare: func(a *app) step { return a.do("POST", "/token", loginForm(a.ann), "") }, more: true},
	"login by form":           {more: true, ends: true, prepare: func(a *app) step { return a.do("POST", "/login", loginForm(a.ann), "") }},
	"login by refresh cookie": {more: true, prepare: func(a *app) step { return a.do("POST", "/session", loginForm(a.ann), "") }},
	"login with a code of an app": {more: true, prepare: func(a *app) step {
		e := a.enroll(a.ann)
		return func(ctx context.Context) error {
			_, err := a.strong(ctx, a.ann, "otp", e.code(a.t))
			return err
		}
	}},
	"login with a recovery code": {more: true, ahead: []string{"codes"}, prepare: func(a *app) step {
		e := a.enroll(a.ann)
		return func(ctx context.Context) error {
			_, err := a.strong(ctx, a.ann, "recovery", e.recovery())
			return err
		}
	}},
	// A factor that was confirmed stays, also if the session fails.
	"login that sets up a factor": {more: true, ahead: []string{"pending", "factors", "codes", "mails"}, prepare: func(a *app) step {
		u := a.add("eve", "secured")
		var e enrolled
		return func(ctx context.Context) error {
			r, err := a.send(ctx, "POST", "/token", loginForm(u), "")
			if a.tried && r.member("error") == "mfa_required" {
				_, err = a.send(ctx, "POST", "/token", answerForm(r, "otp", e.code(a.t)), "")
				return err
			}
			if r.member("error") != "mfa_enrollment_required" {
				return err
			}
			begun, err := a.send(ctx, "POST", "/token", form("grant_type", "mfa_enroll", "mfa_token", r.member("mfa_token"), "mfa_method", "otp"), "")
			if err != nil {
				return err
			}
			e.uri = begun.member("mfa_enrollment", "uri")
			_, err = a.send(ctx, "POST", "/token", answerForm(r, "otp", e.code(a.t)), "")
			return err
		}
	}},
	"refresh": {prepare: func(a *app) step {
		r := a.login(a.ann)
		return a.do("POST", "/token", form("grant_type", "refresh_token", "refresh_token", r.member("refresh_token")), "")
	}},
	"refresh by cookie": {prepare: func(a *app) step {
		a.must("POST", "/session", loginForm(a.ann), "")
		return a.do("PUT", "/session", nil, "cookie")
	}},
	"logout": {gone: repeated, prepare: func(a *app) step { return a.do("POST", "/logout", nil, a.as(a.ann)) }},
	"logout by form": {prepare: func(a *app) step {
		a.must("POST", "/login", loginForm(a.ann), "")
		return a.do("POST", "/login/end", form(), "cookie")
	}},
	"logout by refresh cookie": {prepare: func(a *app) step {
		a.must("POST", "/session", loginForm(a.ann), "")
		return a.do("DELETE", "/session", nil, "cookie")
	}},
	"logout of the other sessions": {prepare: func(a *app) step {
		a.as(a.ann)
		return a.do("DELETE", "/sessions", nil, a.as(a.ann))
	}},
	"logout everywhere": {prepare: func(a *app) step {
		a.as(a.ann)
		return func(ctx context.Context) error { return a.kit.LogoutEverywhere(ctx, a.ann.ID) }
	}},
	"guarded request": {prepare: func(a *app) step { return a.do("GET", "/me", nil, a.as(a.ann)) }},
	"guarded request by cookie": {prepare: func(a *app) step {
		a.must("POST", "/login", loginForm(a.ann), "")
		return a.do("GET", "/me", nil, "cookie")
	}},
	"list of sessions": {prepare: func(a *app) step { return a.do("GET", "/sessions", nil, a.as(a.ann)) }},
	"change password": {gone: repeated, prepare: func(a *app) step {
		a.as(a.ann)
		return a.do("POST", "/password", form("current_password", password, "new_password", nextPassword), a.as(a.ann))
	}},
	"set password": {prepare: func(a *app) step {
		a.as(a.ann)
		return func(ctx context.Context) error { return a.kit.SetPassword(ctx, a.ann.ID, nextPassword) }
	}},
	"set address": {prepare: func(a *app) step {
		return call(func(ctx context.Context) (authkit.User, error) {
			return a.kit.SetEmail(ctx, a.ann.ID, "new@example.com")
		})
	}},
	"set roles": {prepare: func(a *app) step {
		a.as(a.ann)
		return call(func(ctx context.Context) (authkit.User, error) {
			return a.kit.SetRoles(ctx, a.ann.ID, "user", "editor")
		})
	}},
	"disable": {prepare: func(a *app) step {
		a.as(a.ann)
		return func(ctx context.Context) error { return a.kit.DisableUser(ctx, a.ann.ID) }
	}},
	"lock": {prepare: func(a *app) step {
		return call(func(ctx context.Context) (authkit.User, error) {
			return a.kit.LockUser(ctx, a.ann.ID, time.Now().Add(time.Hour))
		})
	}},
	"delete": {apart: features, prepare: func(a *app) step {
		a.everything()
		return func(ctx context.Context) error {
			if err := a.kit.DeleteUser(ctx, a.ann.ID); !errors.Is(err, authkit.ErrUserNotFound) {
				return err
			}
			return nil
		}
	}},
	"reset": {apart: features, prepare: func(a *app) step {
		a.everything()
		return func(ctx context.Context) error { return a.kit.ResetUser(ctx, a.ann.ID) }
	}},
	"reset of factors": {apart: features, prepare: func(a *app) step {
		a.everything()
		return func(ctx context.Context) error { return a.kit.ResetFactors(ctx, a.ann.ID) }
	}},
	"export": {prepare: func(a *app) step {
		a.everything()
		return call(func(ctx context.Context) (map[string]any, error) { return a.kit.ExportUser(ctx, a.ann.ID) })
	}},
	"create": {prepare: func(a *app) step {
		return func(ctx context.Context) error {
			_, err := a.kit.CreateUser(ctx, authkit.User{Email: "new@example.com", FullName: "new", Roles: []string{"user"}}, password)
			if errors.Is(err, authkit.ErrEmailTaken) {
				return nil // by the first try
			}
			return err
		}
	}},

	"register": {more: true, prepare: func(a *app) step {
		return a.do("POST", "/account/register", map[string]string{"email": "new@example.com"}, "")
	}},
	"sign-up": {gone: repeated, prepare: func(a *app) step {
		a.must("POST", "/account/register", map[string]string{"email": "new@example.com"}, "")
		return a.do("POST", "/account/signup", map[string]string{"token": a.link("new@example.com"), "password": password, "full_name": "new"}, "")
	}},
	"request of a reset": {more: true, prepare: func(a *app) step {
		return a.do("POST", "/account/reset", map[string]string{"email": a.ann.Email}, "")
	}},
	"reset of a password": {gone: repeated, apart: []string{"mails"}, prepare: func(a *app) step {
		a.as(a.ann)
		a.must("POST", "/account/reset", map[string]string{"email": a.ann.Email}, "")
		return a.do("POST", "/account/password", map[string]string{"token": a.link(a.ann.Email), "password": nextPassword}, "")
	}},
	"request of an address": {more: true, prepare: func(a *app) step {
		return a.do("POST", "/account/email", map[string]string{"current_password": password, "email": "new@example.com"}, a.as(a.ann))
	}},
	"confirmation of an address": {gone: repeated, apart: []string{"mails"}, prepare: func(a *app) step {
		token := a.as(a.ann)
		a.must("POST", "/account/email", map[string]string{"current_password": password, "email": "new@example.com"}, token)
		return a.do("POST", "/account/confirm", map[string]string{"token": a.link("new@example.com")}, token)
	}},
	"undo of an address": {gone: repeated, apart: []string{"mails"}, prepare: func(a *app) step {
		token := a.as(a.ann)
		a.must("POST", "/account/email", map[string]string{"current_password": password, "email": "new@example.com"}, token)
		a.must("POST", "/account/confirm", map[string]string{"token": a.link("new@example.com")}, token)
		return a.do("POST", "/account/undo", map[string]string{"token": a.link(a.ann.Email), "password": nextPassword}, "")
	}},
	"deletion by the user": {gone: repeated, apart: append([]string{"mails"}, features...), prepare: func(a *app) step {
		a.everything()
		return a.do("POST", "/account/delete", map[string]string{"current_password": password}, a.strongToken)
	}},
	"export by the user": {prepare: func(a *app) step { return a.do("GET", "/account/export", nil, a.as(a.ann)) }},
	"request of a code": {more: true, prepare: func(a *app) step {
		return a.do("POST", "/account/code", map[string]string{"email": a.ann.Email}, "")
	}},
	"login with a code by mail": {more: true, prepare: func(a *app) step {
		handle, code := "", ""
		renew := func() {
			handle = a.must("POST", "/account/code", map[string]string{"email": a.ann.Email}, "").member("handle")
			code = sixDigits.FindString(a.mail(a.ann.Email))
		}
		renew()
		return func(ctx context.Context) error {
			if a.tried {
				renew() // the code may be used up
			}
			_, err := a.send(ctx, "POST", "/account/code/login", map[string]string{"handle": handle, "code": code}, "")
			return err
		}
	}},
	"invite a user": {prepare: func(a *app) step {
		return func(ctx context.Context) error {
			_, err := a.accounts.Invite(ctx, authkit.User{Email: "new@example.com", FullName: "new"})
			if errors.Is(err, authkit.ErrEmailTaken) {
				return nil // by the first try
			}
			return err
		}
	}},
	"delivery": {wait: 3 * time.Hour, prepare: func(a *app) step {
		a.must("POST", "/account/reset", map[string]string{"email": a.ann.Email}, "")
		return a.accounts.Deliver
	}},

	"set-up of an app": {more: true, prepare: func(a *app) step { return a.do("POST", "/factors/otp", nil, a.as(a.ann)) }},
	"confirmation of an app": {gone: repeated, apart: []string{"factors", "pending", "codes"}, prepare: func(a *app) step {
		a.as(a.ann)
		token := a.as(a.ann)
		e := enrolled{uri: a.must("POST", "/factors/otp", nil, token).member("uri")}
		return func(ctx context.Context) error {
			_, err := a.send(ctx, "POST", "/factors/otp/confirm", map[string]string{"code": e.code(a.t)}, token)
			return err
		}
	}},
	"removal of an app": {gone: repeated, apart: []string{"factors", "codes"}, prepare: func(a *app) step {
		e := a.enroll(a.ann)
		return a.do("DELETE", "/factors/otp", nil, a.mustStrong(a.ann, e))
	}},
	"renewal of recovery codes": {gone: repeated, apart: []string{"codes"}, prepare: func(a *app) step {
		e := a.enroll(a.ann)
		return a.do("POST", "/factors/recovery", nil, a.mustStrong(a.ann, e))
	}},
	"status of factors": {prepare: func(a *app) step { return a.do("GET", "/factors", nil, a.as(a.ann)) }},

	"registration of a passkey": {gone: repeated, more: true, apart: []string{"factors"}, prepare: func(a *app) step {
		token, key := a.as(a.ann), passkeytest.NewAuthenticator(a.t, rpID, origin)
		return func(ctx context.Context) error {
			o, err := a.send(ctx, "POST", "/passkeys/register/options", nil, token)
			if err != nil {
				return err
			}
			_, err = a.send(ctx, "POST", "/passkeys/register", key.Create(options(o)), token)
			return err
		}
	}},
	"login with a passkey": {more: true, prepare: func(a *app) step {
		key := a.register(a.ann)
		return func(ctx context.Context) error {
			o, err := a.send(ctx, "POST", "/passkeys/login/options", nil, "")
			if err != nil {
				return err
			}
			_, err = a.send(ctx, "POST", "/passkeys/login", key.Get(options(o)), "")
			return err
		}
	}},
	"login with a passkey by cookie": {more: true, prepare: func(a *app) step {
		key := a.register(a.ann)
		return func(ctx context.Context) error {
			o, err := a.send(ctx, "POST", "/passkeys/login/options", nil, "")
			if err != nil {
				return err
			}
			_, err = a.send(ctx, "POST", "/passkeys/login/cookie", key.Get(options(o)), "")
			return err
		}
	}},
	"passkey as a second factor": {more: true, prepare: func(a *app) step {
		key := a.register(a.ann)
		return func(ctx context.Context) error {
			o, err := a.send(ctx, "POST", "/passkeys/factor/options", nil, "")
			if err != nil {
				return err
			}
			_, err = a.strong(ctx, a.ann, "pop", string(key.Get(options(o))))
			return err
		}
	}},
	"renaming of a passkey": {prepare: func(a *app) step {
		token, id := a.passkey()
		return a.do("PATCH", "/passkeys/"+id, map[string]string{"name": "laptop"}, token)
	}},
	"deletion of a passkey": {gone: repeated, apart: []string{"factors"}, prepare: func(a *app) step {
		token, id := a.passkey()
		return a.do("DELETE", "/passkeys/"+id, nil, token)
	}},

	"trust in a device": {more: true, prepare: func(a *app) step {
		return a.do("POST", "/devices", nil, a.mustStrong(a.ann, a.enroll(a.ann)))
	}},
	"login on a trusted device": {more: true, prepare: func(a *app) step {
		a.must("POST", "/devices", nil, a.mustStrong(a.ann, a.enroll(a.ann)))
		return a.do("POST", "/token", loginForm(a.ann), "cookie")
	}},
	"end of trust in a device": {gone: repeated, prepare: func(a *app) step {
		token := a.mustStrong(a.ann, a.enroll(a.ann))
		a.must("POST", "/devices", nil, token)
		list, err := a.stores.devices.Devices(a.t.Context(), a.ann.ID)
		if err != nil {
			a.t.Fatal(err)
		}
		return a.do("DELETE", "/devices/"+list[0].ID, nil, token)
	}},
	"list of devices": {prepare: func(a *app) step { return a.do("GET", "/devices", nil, a.as(a.ann)) }},

	"new key": {more: true, prepare: func(a *app) step {
		return a.do("POST", "/keys", map[string]any{"name": "backup", "scopes": []string{"notes:read"}}, a.as(a.ann))
	}},
	"use of a key": {prepare: func(a *app) step {
		_, key := a.key()
		return a.do("GET", "/notes", nil, key.member("key"))
	}},
	"rotation of a key": {more: true, prepare: func(a *app) step {
		token, key := a.key()
		return a.do("POST", "/keys/"+key.member("id")+"/rotate", map[string]any{"overlap": 0}, token)
	}},
	"revocation of a key": {gone: repeated, prepare: func(a *app) step {
		token, key := a.key()
		return a.do("DELETE", "/keys/"+key.member("id"), nil, token)
	}},
	"report of a leaked key": {prepare: func(a *app) step {
		_, key := a.key()
		return a.do("POST", "/keys/leaked", map[string]string{"key": key.member("key")}, "")
	}},
	"list of keys": {prepare: func(a *app) step { token, _ := a.key(); return a.do("GET", "/keys", nil, token) }},
	"new service": {gone: repeated, prepare: func(a *app) step {
		return a.do("POST", "/services", map[string]any{"id": "robot", "roles": []string{"user"}}, a.as(a.root))
	}},
	"roles of a service": {prepare: func(a *app) step {
		a.service()
		return a.do("PUT", "/services/robot/roles", map[string]any{"roles": []string{"editor"}}, a.as(a.root))
	}},
	"deletion of a service": {gone: repeated, apart: []string{"keys"}, prepare: func(a *app) step {
		a.service()
		return a.do("DELETE", "/services/robot", nil, a.as(a.root))
	}},
	"grant of a service": {prepare: func(a *app) step { return a.do("POST", "/token", a.service(), "") }},
	"request of a service": {prepare: func(a *app) step {
		return a.do("GET", "/notes", nil, a.must("POST", "/token", a.service(), "").member("access_token"))
	}},
	"introspection": {prepare: func(a *app) step {
		return a.do("POST", "/introspect", form("token", a.must("POST", "/token", a.service(), "").member("access_token")), a.as(a.root))
	}},
	"revocation of a refresh token": {prepare: func(a *app) step {
		return a.do("POST", "/revoke", form("token", a.login(a.ann).member("refresh_token")), "")
	}},
	"revocation of the tokens of a service": {prepare: func(a *app) step {
		a.must("POST", "/token", a.service(), "")
		return func(ctx context.Context) error { return a.kit.RevokeServiceTokens(ctx, "robot", a.grantKey) }
	}},
	"import of a key": {prepare: func(a *app) step {
		hash := apikey.Hash("legacy_0123456789abcdef0123456789abcdef")
		return func(ctx context.Context) error {
			_, err := a.keys.Import(authkit.WithSystem(ctx, "import"), apikey.Import{Owner: apikey.OfUser(a.ann.ID), ID: "0123456789abcdef", Hash: hash, Options: apikey.Options{Name: "old"}})
			if errors.Is(err, apikey.ErrExists) {
				return nil // by the first try
			}
			return err
		}
	}},

	"new organization": {more: true, prepare: func(a *app) step {
		return a.do("POST", "/orgs", map[string]string{"name": "Acme"}, a.as(a.ann))
	}},
	"invitation": {more: true, prepare: func(a *app) step {
		id := a.organization()
		return a.do("POST", "/orgs/"+id+"/invitations", map[string]any{"email": a.bob.Email, "roles": []string{"member"}}, a.as(a.ann))
	}},
	"revocation of an invitation": {gone: repeated, prepare: func(a *app) step {
		id, token := a.organization(), a.as(a.ann)
		i := a.must("POST", "/orgs/"+id+"/invitations", map[string]any{"email": a.bob.Email, "roles": []string{"member"}}, token)
		return a.do("DELETE", "/orgs/"+id+"/invitations/"+i.member("id"), nil, token)
	}},
	"acceptance": {gone: repeated, prepare: func(a *app) step {
		id := a.organization()
		a.must("POST", "/orgs/"+id+"/invitations", map[string]any{"email": a.bob.Email, "roles": []string{"member"}}, a.as(a.ann))
		return a.do("POST", "/orgs/accept", map[string]string{"token": a.invites[a.bob.Email]}, a.as(a.bob))
	}},
	"roles of a member": {prepare: func(a *app) step {
		id := a.organization("member")
		return a.do("PUT", "/orgs/"+id+"/members/"+a.bob.ID, map[string]any{"roles": []string{"admin"}}, a.as(a.ann))
	}},
	"leaving": {gone: repeated, prepare: func(a *app) step {
		id := a.organization("member")
		return a.do("DELETE", "/orgs/"+id+"/members/"+a.bob.ID, nil, a.as(a.bob))
	}},
	"removal of a member": {gone: repeated, prepare: func(a *app) step {
		id := a.organization("member")
		return a.do("DELETE", "/orgs/"+id+"/members/"+a.bob.ID, nil, a.as(a.ann))
	}},
	"switch": {prepare: func(a *app) step {
		id := a.organization()
		return a.do("POST", "/orgs/"+id+"/switch", nil, a.as(a.ann))
	}},
	"request of the active organization": {prepare: func(a *app) step {
		id, token := a.organization(), a.as(a.ann)
		a.must("POST", "/orgs/"+id+"/switch", nil, token)
		return a.do("GET", "/active", nil, token)
	}},
	"request of a member": {prepare: func(a *app) step { return a.do("GET", "/members/"+a.organization(), nil, a.as(a.ann)) }},
	"deletion of an organization": {gone: repeated, prepare: func(a *app) step {
		id := a.organization("member")
		return a.do("DELETE", "/orgs/"+id, nil, a.as(a.ann))
	}},
}
