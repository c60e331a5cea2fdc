package foreign

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	totpStep   = 30 // seconds
	totpSkew   = 1  // steps before and after the current one
	totpSecret = 20 // bytes
)

// A TOTP is an [authkit.SecondFactor] and [authkit.UserData] for one-time codes
// of RFC 6238. The zero value is ready for use. A feature for production
// encrypts the secrets, and enrolls users only after a right code.
type TOTP struct {
	mu     sync.Mutex
	byUser map[string]*totp
}

type totp struct {
	secret   []byte
	lastStep int64 // the step of the last code that was accepted
	since    time.Time
}

// Enroll makes a new secret for a user and returns it.
func (t *TOTP) Enroll(userID string) (secret []byte) {
	secret = make([]byte, totpSecret)
	_, _ = rand.Read(secret) // never fails
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byUser == nil {
		t.byUser = make(map[string]*totp)
	}
	t.byUser[userID] = &totp{secret: secret, since: time.Now()}
	return secret
}

// Code returns the code of a secret at a time.
func Code(secret []byte, at time.Time) string { return codeOf(secret, at.Unix()/totpStep) }

// codeOf is HOTP of RFC 4226 with six digits.
func codeOf(secret []byte, step int64) string {
	mac := hmac.New(sha1.New, secret)
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	number := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%06d", number%1_000_000)
}

// Method implements [authkit.SecondFactor].
func (*TOTP) Method() string { return "otp" }

// Enrolled implements [authkit.SecondFactor].
func (t *TOTP) Enrolled(_ context.Context, userID string) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byUser[userID] != nil, nil
}

// Verify implements [authkit.SecondFactor]. It accepts each step once.
func (t *TOTP) Verify(_ context.Context, userID, response string) error {
	response = strings.ReplaceAll(response, " ", "")
	t.mu.Lock()
	defer t.mu.Unlock()
	factor := t.byUser[userID]
	if factor == nil {
		return authkit.ErrInvalidCode
	}
	now := time.Now().Unix() / totpStep
	for step := now - totpSkew; step <= now+totpSkew; step++ {
		right := subtle.ConstantTimeCompare([]byte(codeOf(factor.secret, step)), []byte(response)) == 1
		if right && step > factor.lastStep { // a database compares and sets it in one statement
			factor.lastStep = step
			return nil
		}
	}
	return authkit.ErrInvalidCode
}

// Name implements [authkit.UserData].
func (*TOTP) Name() string { return "totp" }

// Wipe implements [authkit.UserData].
func (t *TOTP) Wipe(_ context.Context, userID string, _ authkit.Wipe) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byUser, userID)
	return nil
}

// Export implements [authkit.UserData].
func (t *TOTP) Export(_ context.Context, userID string) (any, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	factor := t.byUser[userID]
	if factor == nil {
		return nil, nil
	}
	return map[string]any{"enrolled_at": factor.since}, nil
}
