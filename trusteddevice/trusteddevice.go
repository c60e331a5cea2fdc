// Package trusteddevice lets users skip the second factor on devices that they
// trust, for at most 30 days.
//
//	devices, err := trusteddevice.New(trusteddevice.Config{Store: trusteddevicesql.New(db)})
//	...
//	kit, err := authkit.New(authkit.Config{SecondFactors: factors, TrustedDevices: devices, ...})
//	...
//	mux := kit.NewMux()
//	devices.Mount(mux, kit, "/users/me/devices")
//	http.ListenAndServe(addr, devices.Handler(mux))
//
// # Security
//
// A trusted device has a cookie with 256 random bits. The store has a hash of
// them, together with the user and the password hash of the account. The cookie
// replaces the second factor, not the first: it is no login.
//
// A device is not trusted any more after 30 days, a change of the password or of
// a second factor, a logout everywhere, or when the user revokes it. It is also
// not trusted after the password hash was replaced by one of a higher cost.
//
// A login on a trusted device does not count as one with a second factor. Routes
// that require it, by [authkit.Policy.Using], refuse the session, and the user
// cannot change factors or trust a further device with it.
package trusteddevice

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	cookieName = "__Host-trusted-device"

	maxLife    = 30 * 24 * time.Hour
	maxPerUser = 20
	maxToken   = 128 // bytes
	secretSize = 32
	freshLogin = 5 * time.Minute
	callTime   = 5 * time.Second // for a call of the store
)

// Config configures [Devices].
type Config struct {
	// Store keeps the devices. If nil, it is a new [MemoryStore], which loses
	// them when the program ends. Package trusteddevicesql has another Store.
	// With the database of the accounts it is part of their transactions.
	Store Store

	// Life is how long a device is trusted. If zero, it is 30 days, which is
	// also the maximum. Logins do not prolong it.
	Life time.Duration
}

// Devices are the trusted devices of users. It implements
// [authkit.TrustedDevices]. Make one with [New]. It is safe for concurrent use.
type Devices struct {
	store Store
	life  time.Duration
}

var _ authkit.TrustedDevices = (*Devices)(nil)

// New returns Devices, or an error that joins all problems of cfg.
func New(cfg Config) (*Devices, error) {
	var errs []error
	if cfg.Life < 0 || cfg.Life > maxLife {
		errs = append(errs, fmt.Errorf("trusteddevice: Config.Life: %v; use up to %v, or 0 for %v", cfg.Life, maxLife, maxLife))
	}
	if m, ok := cfg.Store.(*MemoryStore); ok && (m == nil || m.users == nil) {
		errs = append(errs, errors.New("trusteddevice: Config.Store: an empty MemoryStore; make it with NewMemoryStore"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	d := &Devices{store: cfg.Store, life: cfg.Life}
	if d.store == nil {
		d.store = NewMemoryStore()
	}
	if d.life == 0 {
		d.life = maxLife
	}
	return d, nil
}

type tokenKey struct{}

// Handler returns a handler that passes the cookie of a request to the logins
// within next. Put it around the handlers that log in, or around all.
func (d *Devices) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := tokenOf(r); token != "" {
			r = r.WithContext(context.WithValue(r.Context(), tokenKey{}, token))
		}
		next.ServeHTTP(w, r)
	})
}

// tokenOf returns the value of the one cookie of a request, or "".
func tokenOf(r *http.Request) string {
	cookies := r.CookiesNamed(cookieName)
	if len(cookies) != 1 || len(cookies[0].Value) > maxToken {
		return ""
	}
	return cookies[0].Value
}

// Trusted implements [authkit.TrustedDevices].
func (d *Devices) Trusted(ctx context.Context, u authkit.StoredUser) (bool, error) {
	token, _ := ctx.Value(tokenKey{}).(string)
	id, secret, ok := strings.Cut(token, ".")
	if !ok {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	found, err := d.store.Device(ctx, u.ID, id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	hash := hashOf(u, id, secret)
	at := now()
	return subtle.ConstantTimeCompare(hash[:], found.Hash[:]) == 1 &&
		at.Before(found.ExpiresAt) && at.Before(found.CreatedAt.Add(d.life)) &&
		!found.CreatedAt.Before(u.TokensValidAfter), nil
}

// hashOf returns the hash for the store. It holds the user and the password
// hash, so that the token is refused for another account or password.
func hashOf(u authkit.StoredUser, id, secret string) [32]byte {
	password := sha256.Sum256([]byte(u.PasswordHash))
	h := sha256.New()
	h.Write([]byte("authkit trusted device\x00" + u.ID + "\x00" + id + "\x00" + secret + "\x00"))
	h.Write(password[:])
	return [32]byte(h.Sum(nil))
}

// Trust makes the client of a request a trusted device of its user, and sets the
// cookie. A device that the client was before for this user is replaced.
//
// The principal of the request must be a login of the user that used a second
// factor, at most five minutes ago. The errors are:
//   - ErrForbidden or a [*authkit.StepUpError] for another principal.
//   - ErrConflict or ErrUserNotFound if the account has changed since the
//     request was authenticated.
//   - ErrUnavailable if a store failed.
func (d *Devices) Trust(w http.ResponseWriter, r *http.Request, kit *authkit.Kit) error {
	ctx := r.Context()
	p, err := self(ctx, kit)
	if err != nil {
		return err
	}
	if err := trustPolicy().Check(p); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	users := kit.Settings().Users
	u, err := users.UserByID(ctx, p.UserID)
	switch {
	case errors.Is(err, authkit.ErrUserNotFound):
		return err
	case err != nil:
		return unavailable(ctx, err)
	}
	var secret [secretSize]byte
	_, _ = rand.Read(secret[:]) // never fails
	text := base64.RawURLEncoding.EncodeToString(secret[:])
	at := now()
	client := authkit.ClientFrom(authkit.WithClient(ctx, authkit.ClientInfo{Device: r.UserAgent()}))
	device := StoredDevice{Device: Device{ID: rand.Text(), UserID: u.ID, Agent: client.Device, CreatedAt: at, ExpiresAt: at.Add(d.life)}}
	device.Hash = hashOf(u, device.ID, text)
	who, _ := authkit.UserFrom(ctx)
	err = kit.InTx(ctx, func(ctx context.Context) error {
		// A change of a factor since the request was authenticated has removed the
		// devices. The update fails then, and it makes a change wait that comes now.
		if _, err := users.UpdateUser(ctx, u.ID, authkit.UserUpdate{IfVersion: who.Version}, at); err != nil {
			return err
		}
		return d.store.PutDevice(ctx, device, maxPerUser)
	})
	switch {
	case errors.Is(err, authkit.ErrConflict), errors.Is(err, authkit.ErrUserNotFound):
		return err
	case err != nil:
		return unavailable(ctx, err)
	}
	if id, _, ok := strings.Cut(tokenOf(r), "."); ok {
		if _, err := d.store.DeleteDevice(ctx, u.ID, id); err != nil {
			return unavailable(ctx, err)
		}
	}
	setCookie(w, device.ID+"."+text, d.life)
	return nil
}

// trustPolicy is the condition for a user who trusts a device.
func trustPolicy() authkit.Policy {
	return authkit.Authenticated().Using(authkit.MethodMultiple).Fresh(freshLogin)
}

// self returns the principal of ctx, if it is a login of a user of the Kit.
func self(ctx context.Context, kit *authkit.Kit) (authkit.Principal, error) {
	p, ok := authkit.PrincipalFrom(ctx)
	if !ok || p.UserID == "" {
		return p, authkit.ErrNoCredentials
	}
	return p, kit.RequireSelf(ctx, p.UserID)
}

// setCookie sets the cookie, or removes it if its life is negative.
func setCookie(w http.ResponseWriter, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: int(life / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// List returns the devices that a user trusts, the newest first. The caller must
// authorize the call. The error is ErrUnavailable if the store failed, or that of
// ctx.
func (d *Devices) List(ctx context.Context, userID string) ([]Device, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	all, err := d.store.Devices(ctx, userID)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	at := now()
	live := make([]Device, 0, len(all))
	for _, one := range all {
		if at.Before(one.ExpiresAt) && at.Before(one.CreatedAt.Add(d.life)) {
			live = append(live, one)
		}
	}
	return live, nil
}

// Revoke makes a device of a user not trusted any more. The caller must
// authorize the call. The sessions of the device continue; see
// [authkit.Kit.LogoutOthers]. The errors are ErrNotFound if the user has no such
// device, ErrUnavailable if the store failed, or that of ctx.
func (d *Devices) Revoke(ctx context.Context, userID, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	deleted, err := d.store.DeleteDevice(ctx, userID, id)
	if err != nil {
		return unavailable(ctx, err)
	}
	if !deleted {
		return ErrNotFound
	}
	return nil
}

// Name implements [authkit.UserData].
func (*Devices) Name() string { return "trusted_devices" }

// Wipe implements [authkit.UserData].
func (d *Devices) Wipe(ctx context.Context, userID string, _ authkit.Wipe) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := d.store.DeleteDevices(ctx, userID); err != nil {
		return unavailable(ctx, err)
	}
	return nil
}

// Export implements [authkit.UserData].
func (d *Devices) Export(ctx context.Context, userID string) (any, error) {
	list, err := d.List(ctx, userID)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list, nil
}

// Run deletes devices that have expired, now and every hour, until ctx is done.
// It returns the error of ctx, or that of the store. Several instances may run it
// on one store.
func (d *Devices) Run(ctx context.Context) error {
	const batch = 1000
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		for n := batch; n == batch; {
			var err error
			if n, err = d.store.DeleteExpiredDevices(ctx, now(), batch); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// unavailable returns the error of a store for callers.
func unavailable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return fmt.Errorf("trusteddevice: %w: %w", authkit.ErrUnavailable, err)
}

// now is the time as stores keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
