package totp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/authkit-go/authkit"
)

const (
	recoveryCodes = 10
	recoveryBytes = 15 // 120 bits
	recoveryGroup = 4  // letters
)

// RecoveryCodes are a second factor for users who have lost their other ones.
// Users get ten codes of 120 random bits when they set up an authenticator app,
// and each code works once. Users who have only another factor, such as a
// passkey, get them from [RecoveryCodes.Renew]. Make RecoveryCodes with
// [Factor.RecoveryCodes]. They are safe for concurrent use.
//
// A recovery code answers the challenge of a login, like every second factor. It
// never replaces the password, so a list of codes alone opens no account.
// authkit.EventRecoveryUsed is the event of each use. Notify the user.
type RecoveryCodes struct {
	factor *Factor
	others []authkit.SecondFactor
}

var (
	_ authkit.SecondFactor = (*RecoveryCodes)(nil)
	_ authkit.UserData     = (*RecoveryCodes)(nil)
)

// RecoveryCodes turns recovery codes on, and returns them as a second factor for
// authkit.Config.SecondFactors. The others are further factors whose users can
// have recovery codes, such as passkeys. Codes of users without any of the
// factors are not requested. Call it once, before you make the Kit.
func (f *Factor) RecoveryCodes(others ...authkit.SecondFactor) *RecoveryCodes {
	f.recovery = &RecoveryCodes{f, others}
	return f.recovery
}

// Codes are new recovery codes, such as "ABCD-EFGH-IJKL-MNOP-QRST-UVWX". Show
// them once. Their JSON form is for the response.
type Codes struct {
	RecoveryCodes []string `json:"recovery_codes"`
}

// Format implements fmt.Formatter. It prints a fixed text for every verb.
func (Codes) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("totp.Codes{[redacted]}")) }

// LogValue implements slog.LogValuer. It returns a fixed text.
func (c Codes) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Method implements [authkit.SecondFactor]. It returns authkit.MethodRecovery.
func (*RecoveryCodes) Method() string { return authkit.MethodRecovery }

// Enrolled implements [authkit.SecondFactor]. It reports whether the user has a
// code left and one of the factors.
func (c *RecoveryCodes) Enrolled(ctx context.Context, userID string) (bool, error) {
	r, err := c.factor.store.Record(ctx, userID)
	if err != nil || r.CodesLeft == 0 {
		return false, err
	}
	return c.anyEnrolled(ctx, r)
}

// anyEnrolled reports whether the user of a record has one of the factors.
func (c *RecoveryCodes) anyEnrolled(ctx context.Context, r Record) (bool, error) {
	if r.enrolled() {
		return true, nil
	}
	return c.othersEnrolled(ctx, r.UserID)
}

// othersEnrolled reports whether a user has one of the other factors.
func (c *RecoveryCodes) othersEnrolled(ctx context.Context, userID string) (bool, error) {
	for _, f := range c.others {
		if ok, err := f.Enrolled(ctx, userID); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// Verify implements [authkit.SecondFactor]. Spaces, hyphens and case do not
// matter.
func (c *RecoveryCodes) Verify(ctx context.Context, userID, response string) error {
	code, ok := parseRecoveryCode(response)
	if !ok {
		return authkit.ErrInvalidCode
	}
	used, err := c.factor.store.UseCode(ctx, userID, recoveryHash(userID, code))
	if err == nil && !used {
		return authkit.ErrInvalidCode
	}
	return err
}

// Left returns how many codes of a user were not used. The errors are those of
// the [Store].
func (c *RecoveryCodes) Left(ctx context.Context, userID string) (int, error) {
	r, err := c.factor.store.Record(ctx, userID)
	return r.CodesLeft, err
}

// Renew replaces all codes of a user by ten new ones. The principal of ctx must
// be allowed to change the factors of the user; see [authkit.Kit.ChangeFactor].
//
// The errors are those of ChangeFactor, and authkit.ErrNoFactor if the user has
// none of the factors.
func (c *RecoveryCodes) Renew(ctx context.Context, kit *authkit.Kit, userID string) (Codes, error) {
	var codes Codes
	renewed := authkit.Event{Kind: authkit.EventRecoveryRenewed, UserID: userID, Method: authkit.MethodRecovery}
	err := kit.ChangeFactor(ctx, renewed, func(ctx context.Context) error {
		r, err := c.factor.store.Record(ctx, userID)
		if err != nil {
			return failed(err)
		}
		enrolled, err := c.anyEnrolled(ctx, r)
		switch {
		case err != nil:
			return failed(err)
		case !enrolled:
			return authkit.ErrNoFactor
		}
		codes, err = c.issue(ctx, userID)
		return failed(err)
	})
	if err != nil {
		return Codes{}, err
	}
	return codes, nil
}

// failed returns the error of a store as callers of a Kit see it.
func failed(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, authkit.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("totp: %w: %w", authkit.ErrUnavailable, err)
}

// issueFirst makes codes for a user who has just set up a factor, unless the user
// has codes for another factor. The record was read before.
func (c *RecoveryCodes) issueFirst(ctx context.Context, r Record) (any, error) {
	if r.CodesLeft > 0 {
		has, err := c.anyEnrolled(ctx, r)
		if err != nil || has {
			return nil, err
		}
	}
	codes, err := c.issue(ctx, r.UserID)
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// issue stores ten new codes in place of the old ones, and returns them.
func (c *RecoveryCodes) issue(ctx context.Context, userID string) (Codes, error) {
	var codes Codes
	var hashes [][32]byte
	for range recoveryCodes {
		var secret [recoveryBytes]byte
		_, _ = rand.Read(secret[:]) // never fails
		code := base32.StdEncoding.EncodeToString(secret[:])
		hashes = append(hashes, recoveryHash(userID, code))
		codes.RecoveryCodes = append(codes.RecoveryCodes, grouped(code))
	}
	return codes, c.factor.store.SetCodes(ctx, userID, hashes, now())
}

// grouped returns a code in groups of letters, which are easier to type.
func grouped(code string) string {
	var groups []string
	for ; code != ""; code = code[recoveryGroup:] {
		groups = append(groups, code[:recoveryGroup])
	}
	return strings.Join(groups, "-")
}

// parseRecoveryCode returns the letters of a response. It reports false if it
// cannot be a code.
func parseRecoveryCode(response string) (code string, ok bool) {
	code = strings.ToUpper(strings.ReplaceAll(withoutSpaces(response), "-", ""))
	secret, err := base32.StdEncoding.DecodeString(code)
	return code, err == nil && len(secret) == recoveryBytes
}

// recoveryHash returns the hash of a code for the store. A hash that is copied to
// another user is that of no code. The code has 120 random bits, so a fast hash
// is enough (NIST SP 800-63B-4, section 3.1.2.2).
func recoveryHash(userID, code string) [32]byte {
	return sha256.Sum256([]byte("authkit recovery code\x00" + userID + "\x00" + code))
}

// Name implements [authkit.UserData]. It returns "recovery_codes".
func (*RecoveryCodes) Name() string { return "recovery_codes" }

// Wipe implements [authkit.UserData].
func (c *RecoveryCodes) Wipe(ctx context.Context, userID string, _ authkit.Wipe) error {
	return failed(c.factor.store.SetCodes(ctx, userID, nil, now()))
}

// Export implements [authkit.UserData]. It returns how many codes are left.
func (c *RecoveryCodes) Export(ctx context.Context, userID string) (any, error) {
	left, err := c.Left(ctx, userID)
	if err != nil || left == 0 {
		return nil, failed(err)
	}
	return map[string]any{"left": left}, nil
}
