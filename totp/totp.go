// Package totp adds the codes of authenticator apps (TOTP, RFC 6238) as a second
// factor, and recovery codes for users who have lost the app.
//
//	otp, err := totp.New(totp.Config{Issuer: "Example", Keys: [][]byte{key}, Store: totpsql.New(db)})
//	...
//	recovery := otp.RecoveryCodes()
//	kit, err := authkit.New(authkit.Config{
//		SecondFactors: []authkit.SecondFactor{otp, recovery},
//		UserData:      []authkit.UserData{otp, recovery},
//		...
//	})
//	...
//	recovery.Mount(mux, kit, "/users/me/factors")
//
// The Kit drives all flows: [authkit.Kit.EnrollFactor] and
// [authkit.Kit.ConfirmFactor] set the app up, and [authkit.Kit.AnswerChallenge]
// checks a code at the login. [RecoveryCodes.Mount] adds the routes of a
// settings page.
//
// # Codes
//
// A code has six digits and changes every 30 seconds. The codes of one step
// before and after are accepted too, for clocks that differ (RFC 6238, section
// 5.2). A code is accepted once: after it, only codes of later steps are.
//
// # Guesses
//
// The wrong codes of all logins of a user count together. Each is counted before
// it is compared, so concurrent guesses are never compared beyond the limit.
// After 100 wrong codes without a right one, or 300 since the app was set up, the
// factor is disabled. Three of a million codes are right at a time, so guesses
// succeed with a probability of less than one in a thousand. The user then logs
// in with a recovery code and sets the app up again, or asks an administrator;
// see [authkit.Kit.ResetFactors]. Set authkit.Config.Throttle too: it slows
// guesses down, so that an attacker does not reach the limit soon.
//
// # Secrets
//
// Stores see secrets only encrypted (AES-256-GCM), each bound to its user.
// Recovery codes have 120 random bits and are stored as SHA-256 hashes. To change
// the key, see [Factor.Reseal].
package totp

import (
	"cmp"
	"context"
	"crypto/fips140"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/seal"
)

// Method is the [authkit.SecondFactor].Method of a [Factor] (RFC 8176).
const Method = "otp"

const (
	secretSize  = 20 // bytes, as RFC 4226 section 4 recommends
	pendingLife = 15 * time.Minute
	maxIssuer   = 64 // characters

	defaultTimeout = 5 * time.Second
)

// defaultLimits returns the limits of every [Factor] (MF-03). The limit in total
// also holds if the user logs in while an attacker guesses, which ends the first
// count each time.
func defaultLimits() Limits { return Limits{Failures: 100, Total: 300} }

// Config configures a [Factor]. Issuer and Keys are required.
type Config struct {
	// Issuer is the name of your service in the app: at most 64 characters that
	// print, without a colon.
	Issuer string

	// Keys encrypt the secrets of the users. Each has 32 random bytes or more.
	// The first encrypts, and all of them decrypt. All instances on one Store
	// need the same keys. If a key is lost, its users cannot log in with the
	// app. See [Factor.Reseal] for a change.
	Keys [][]byte

	// Store keeps the factors and the recovery codes. If nil, it is a new
	// [MemoryStore], which loses them when the program ends. Package totpsql
	// has another Store. With the database of the accounts it is part of their
	// transactions.
	Store Store

	// StoreTimeout limits each call of the Store. If zero, it is 5 seconds.
	StoreTimeout time.Duration
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging a Config does not reveal its keys.
func (Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("totp.Config{[redacted]}")) }

// LogValue implements slog.LogValuer. It returns a fixed text.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// A Factor is the second factor of users with an authenticator app. Make one
// with [New]. It is safe for concurrent use.
type Factor struct {
	issuer   string
	box      *seal.Box
	store    Store
	recovery *RecoveryCodes // nil: there are none
}

var (
	_ authkit.Enroller = (*Factor)(nil)
	_ authkit.UserData = (*Factor)(nil)
)

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging a Factor does not reveal its keys.
func (*Factor) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("totp.Factor{[redacted]}")) }

// New returns a Factor, or an error that joins all problems of cfg.
func New(cfg Config) (*Factor, error) {
	var errs []error
	problem := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("totp: Config.%s: %w", field, err))
		}
	}
	problem("Issuer", checkIssuer(cfg.Issuer))
	box, err := seal.New("authkit totp", cfg.Keys...)
	problem("Keys", err)
	if m, ok := cfg.Store.(*MemoryStore); ok && (m == nil || m.users == nil) {
		problem("Store", errors.New("an empty MemoryStore; make it with NewMemoryStore"))
	}
	if cfg.StoreTimeout < 0 {
		problem("StoreTimeout", fmt.Errorf("%v; use a positive one, or 0 for %v", cfg.StoreTimeout, defaultTimeout))
	}
	if fips140.Enforced() {
		errs = append(errs, errors.New("totp: authenticator apps use SHA-1, which GODEBUG=fips140=only refuses; use fips140=on, or passkeys"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Factor{issuer: cfg.Issuer, box: box, store: timedStoreOf(cfg.Store, cmp.Or(cfg.StoreTimeout, defaultTimeout))}, nil
}

// checkIssuer returns why a name cannot be that of a service, or nil.
func checkIssuer(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("is empty; set the name of your service")
	case !utf8.ValidString(name), strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }),
		strings.Contains(name, ":"), utf8.RuneCountInString(name) > maxIssuer, strings.TrimSpace(name) != name:
		return fmt.Errorf("%q; use at most %d characters that print, without a colon", name, maxIssuer)
	}
	return nil
}

// now is the time as stores keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Method implements [authkit.SecondFactor]. It returns "otp".
func (*Factor) Method() string { return Method }

// Enrolled implements [authkit.SecondFactor]. A factor that was disabled by
// wrong codes is still there.
func (f *Factor) Enrolled(ctx context.Context, userID string) (bool, error) {
	r, err := f.store.Record(ctx, userID)
	return r.enrolled(), err
}

// Verify implements [authkit.SecondFactor]. Spaces in the response do not
// matter. It returns authkit.ErrFactorDisabled for the wrong code that disables
// the factor, and authkit.ErrInvalidCode for every other refusal.
func (f *Factor) Verify(ctx context.Context, userID, response string) error {
	code, ok := parseCode(response)
	if !ok {
		return authkit.ErrInvalidCode // no guess: no code looks like that
	}
	limits := defaultLimits()
	r, err := f.store.CountAttempt(ctx, userID, limits)
	switch {
	case errors.Is(err, ErrNotFound):
		return authkit.ErrInvalidCode
	case err != nil:
		return err
	}
	secret, err := f.box.Open(r.Secret, place(columnSecret, userID))
	if err != nil {
		return err
	}
	if step, ok := matchingStep(secret, code, now()); ok {
		accepted, err := f.store.AcceptStep(ctx, userID, r.EnrolledAt, step)
		if err != nil || accepted {
			return err
		}
	}
	if limits.reached(r) {
		return authkit.ErrFactorDisabled
	}
	return authkit.ErrInvalidCode
}

// An Enrollment is the result of [Factor.BeginEnrollment], for the client that
// sets up an app. It is a secret. Its JSON form is for the response.
type Enrollment struct {
	// URI is the key URI for the app, as a link or a QR code:
	// otpauth://totp/Example:ann%40example.com?secret=…&issuer=Example
	URI string `json:"uri"`

	// Secret is the secret in base32, for users who type it.
	Secret string `json:"secret"`
}

// Format implements fmt.Formatter. It prints a fixed text for every verb.
func (Enrollment) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("totp.Enrollment{[redacted]}")) }

// LogValue implements slog.LogValuer. It returns a fixed text.
func (e Enrollment) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(e)) }

// BeginEnrollment implements [authkit.Enroller]. It returns an [Enrollment] with
// a new secret of 160 random bits, which can be confirmed for 15 minutes. A user
// who has the factor sets it up again: the old app works until then.
func (f *Factor) BeginEnrollment(ctx context.Context, u authkit.User) (any, error) {
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // never fails
	sealed := f.box.Seal(secret, place(columnPending, u.ID))
	if err := f.store.SetPending(ctx, u.ID, sealed, now()); err != nil {
		return nil, err
	}
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
	return Enrollment{URI: keyURI(f.issuer, u.Email, text), Secret: text}, nil
}

// ConfirmEnrollment implements [authkit.Enroller]. It returns [Codes] if the user
// gets recovery codes, and otherwise nil. Users who have a factor and codes
// already keep those; see [Factor.RecoveryCodes].
func (f *Factor) ConfirmEnrollment(ctx context.Context, u authkit.User, response string) (any, error) {
	r, err := f.store.Record(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	at := now()
	code, ok := parseCode(response)
	if !ok || len(r.Pending) == 0 || at.Sub(r.PendingAt) >= pendingLife {
		return nil, authkit.ErrInvalidCode
	}
	secret, err := f.box.Open(r.Pending, place(columnPending, u.ID))
	if err != nil {
		return nil, err
	}
	step, ok := matchingStep(secret, code, at)
	if !ok {
		return nil, authkit.ErrInvalidCode
	}
	sealed := f.box.Seal(secret, place(columnSecret, u.ID))
	confirmed, err := f.store.Confirm(ctx, u.ID, r.PendingAt, sealed, step, at)
	switch {
	case err != nil:
		return nil, err
	case !confirmed: // another call has confirmed it, or a newer one waits
		return nil, authkit.ErrInvalidCode
	case f.recovery == nil:
		return nil, nil
	}
	return f.recovery.issueFirst(ctx, r)
}

// Unenroll implements [authkit.Enroller]. If the user has no other factor, it
// removes the recovery codes too.
func (f *Factor) Unenroll(ctx context.Context, userID string) error {
	if err := f.store.DeleteFactor(ctx, userID); err != nil {
		return failed(err)
	}
	if f.recovery == nil {
		return nil
	}
	others, err := f.recovery.othersEnrolled(ctx, userID)
	if err != nil || others {
		return failed(err)
	}
	return failed(f.store.SetCodes(ctx, userID, nil, now()))
}

// Name implements [authkit.UserData]. It returns "totp".
func (*Factor) Name() string { return "totp" }

// Wipe implements [authkit.UserData]. It removes the factor and the recovery
// codes.
func (f *Factor) Wipe(ctx context.Context, userID string, _ authkit.Wipe) error {
	return failed(errors.Join(f.store.DeleteFactor(ctx, userID), f.store.SetCodes(ctx, userID, nil, now())))
}

// Export implements [authkit.UserData]. It returns when the factor was set up.
func (f *Factor) Export(ctx context.Context, userID string) (any, error) {
	r, err := f.store.Record(ctx, userID)
	if err != nil || !r.enrolled() {
		return nil, failed(err)
	}
	return map[string]any{"enrolled_at": r.EnrolledAt}, nil
}
