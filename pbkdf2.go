package authkit

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

const (
	defaultRounds    = 600_000
	minRounds        = 1_000
	defaultMaxRounds = 2_000_000
	ceilingRounds    = 10_000_000
	passlibPrefix    = "$pbkdf2-sha256$"
	djangoPrefix     = "pbkdf2_sha256$"
)

// PBKDF2SHA256 reads the hashes of passlib ($pbkdf2-sha256$…) and of Django
// (pbkdf2_sha256$…), and writes passlib's form. Pass it to [Schemes] after
// [Bcrypt], and each hash is replaced by one of bcrypt when its user logs in.
// The zero value hashes with 600,000 rounds.
type PBKDF2SHA256 struct {
	// Rounds is the number of rounds of new hashes, 600,000 to MaxRounds; zero
	// means 600,000.
	Rounds int

	// MaxRounds bounds the rounds of a stored hash before any work is done;
	// zero means 2,000,000, and 10,000,000 is the most. Fewer than 1,000 are
	// never read. Below 600,000 the scheme can only read: Hash fails.
	MaxRounds int

	// InsecureLowRounds also allows Rounds of 1,000 and more. It is for tests.
	InsecureLowRounds bool
}

func (p PBKDF2SHA256) rounds() int {
	if p.Rounds == 0 {
		return defaultRounds
	}
	return p.Rounds
}

func (p PBKDF2SHA256) maxRounds() int {
	if p.MaxRounds == 0 {
		return defaultMaxRounds
	}
	return min(p.MaxRounds, ceilingRounds)
}

func (p PBKDF2SHA256) validate() error {
	if m := p.MaxRounds; m != 0 && (m < minRounds || m > ceilingRounds) {
		return fmt.Errorf("PBKDF2 MaxRounds %d: use %d to %d, or 0 for %d", m, minRounds, ceilingRounds, defaultMaxRounds)
	}
	fewest := defaultRounds
	if p.InsecureLowRounds {
		fewest = minRounds
	}
	if r := p.Rounds; r != 0 && (r < fewest || r > p.maxRounds()) {
		return fmt.Errorf("PBKDF2 rounds %d: use %d to %d, or 0 for %d", r, fewest, p.maxRounds(), defaultRounds)
	}
	return nil
}

// ab64 is passlib's base64: '.' for '+', no padding. Strict refuses a last letter
// with bits that decode to nothing, which would give one hash several spellings.
var (
	ab64   = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").WithPadding(base64.NoPadding).Strict()
	std64  = base64.StdEncoding.Strict()
	phcB64 = base64.RawStdEncoding.Strict()
)

// validateHash returns why new hashes cannot be made, or nil.
func (p PBKDF2SHA256) validateHash() error {
	if err := p.validate(); err != nil {
		return fmt.Errorf("authkit: %w", err)
	}
	if p.rounds() > p.maxRounds() {
		return fmt.Errorf("authkit: PBKDF2 with %d rounds, which a MaxRounds of %d does not read: raise it, or hash with another scheme", p.rounds(), p.maxRounds())
	}
	return nil
}

// Hash implements [Hasher]. It fails with ErrPasswordTooLong above 1,024 bytes.
func (p PBKDF2SHA256) Hash(password string) (PasswordHash, error) {
	if err := p.validateHash(); err != nil {
		return "", err
	}
	if err := checkPasswordBytes(password, maxPasswordBytes); err != nil {
		return "", err
	}
	salt := randomBytes(saltLen)
	sum, err := pbkdf2.Key(sha256.New, password, salt, p.rounds(), sha256.Size)
	if err != nil {
		return "", fmt.Errorf("authkit: pbkdf2: %w", err)
	}
	return p.format(salt, sum), nil
}

// format returns the hash with a salt and a sum of new hashes.
func (p PBKDF2SHA256) format(salt, sum []byte) PasswordHash {
	return PasswordHash(passlibPrefix + strconv.Itoa(p.rounds()) + "$" + ab64.EncodeToString(salt) + "$" + ab64.EncodeToString(sum))
}

func (p PBKDF2SHA256) dummy() (PasswordHash, error) {
	return p.format(randomBytes(saltLen), randomBytes(sha256.Size)), p.validateHash()
}

// Verify implements [Hasher].
func (p PBKDF2SHA256) Verify(password string, hash PasswordHash) error {
	rounds, salt, sum, err := p.parse(string(hash))
	if err != nil {
		return err
	}
	var failed error
	err = verifyWith(password, maxPasswordBytes, func(password string) bool {
		got, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
		failed = err
		return err == nil && subtle.ConstantTimeCompare(got, sum) == 1
	})
	if failed != nil { // in FIPS 140-only mode, a salt of less than 16 bytes
		return fmt.Errorf("authkit: pbkdf2: %w", failed)
	}
	return err
}

// NeedsRehash implements [Hasher].
func (p PBKDF2SHA256) NeedsRehash(hash PasswordHash) (bool, error) {
	rounds, _, _, err := p.parse(string(hash))
	return err == nil && rounds < p.rounds(), err
}

func (p PBKDF2SHA256) parse(h string) (rounds int, salt, sum []byte, err error) {
	enc := ab64
	rest, ok := strings.CutPrefix(h, passlibPrefix)
	if !ok {
		if rest, ok = strings.CutPrefix(h, djangoPrefix); !ok {
			return 0, nil, nil, ErrUnknownScheme
		}
		enc = std64
	}
	fields := strings.SplitN(rest, "$", 4)
	if len(fields) != 3 || len(h) > maxHashLen {
		return 0, nil, nil, ErrMalformedHash
	}
	rounds, ok = atoi(fields[0], p.maxRounds())
	if !ok || rounds < minRounds {
		return 0, nil, nil, ErrMalformedHash
	}
	if enc == ab64 {
		salt = decodeExact(ab64, fields[1])
	} else {
		salt = []byte(fields[1]) // Django's salt is its text
	}
	if len(salt) < minSalt || len(salt) > maxSalt {
		return 0, nil, nil, ErrMalformedHash
	}
	if sum = decodeExact(enc, fields[2]); len(sum) != sha256.Size {
		return 0, nil, nil, ErrMalformedHash
	}
	return rounds, salt, sum, nil
}
