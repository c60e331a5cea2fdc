package authkit

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

const (
	defaultBcryptCost   = 12
	minBcryptCost       = 10
	maxBcryptCost       = 15 // a hash of cost 31 takes a day and a half
	maxBcryptBytes      = 72 // bcrypt reads no further
	bcryptHashLen       = 60
	defaultRounds       = 600_000
	minRounds           = 1_000
	defaultMaxRounds    = 2_000_000
	ceilingRounds       = 10_000_000
	saltLen             = 16
	minSalt             = 8
	maxSalt             = 1024
	defaultArgon2Time   = 2
	defaultArgon2Memory = 19 * 1024 // KiB
	defaultArgon2Lanes  = 1
	minArgon2Memory     = 7 * 1024            // KiB
	minArgon2Work       = 5 * minArgon2Memory // KiB written over all passes
	maxArgon2Time       = 16
	maxArgon2Memory     = 256 * 1024  // KiB
	maxArgon2Work       = 1024 * 1024 // KiB written over all passes, about a second
	maxArgon2Lanes      = 16
	argon2Prefix        = "$argon2id$v=19$"
	maxHashLen          = 2048 // a hash with the longest salt has 1,500 bytes
	passlibPrefix       = "$pbkdf2-sha256$"
	djangoPrefix        = "pbkdf2_sha256$"
)

// Bcrypt is the scheme of new hashes by default. It reads hashes that begin
// with $2a$, $2b$ or $2y$, and writes $2a$. The zero value hashes at cost 12.
//
// bcrypt uses only the first 72 bytes of a password. This package never
// truncates one: for a longer password, Hash returns ErrPasswordTooLong and
// Verify returns ErrPasswordMismatch.
type Bcrypt struct {
	// Cost is the base-2 logarithm of the work of new hashes, 10 to 15; zero
	// means 12, about a quarter of a second. A stored hash is read at any cost
	// from 4 to 15.
	Cost int

	// InsecureLowCost also allows a Cost of 4 to 9. It is for tests.
	InsecureLowCost bool
}

func (b Bcrypt) cost() int {
	if b.Cost == 0 {
		return defaultBcryptCost
	}
	return b.Cost
}

func (Bcrypt) maxBytes() int { return maxBcryptBytes }

func (b Bcrypt) validate() error {
	lowest := minBcryptCost
	if b.InsecureLowCost {
		lowest = bcrypt.MinCost
	}
	if c := b.cost(); c < lowest || c > maxBcryptCost {
		return fmt.Errorf("bcrypt cost %d: use %d to %d, or 0 for %d", c, lowest, maxBcryptCost, defaultBcryptCost)
	}
	return nil
}

// Hash implements [Hasher]. It fails with ErrPasswordTooLong above 72 bytes.
func (b Bcrypt) Hash(password string) (PasswordHash, error) {
	if err := b.validate(); err != nil {
		return "", fmt.Errorf("authkit: %w", err)
	}
	if err := checkPasswordBytes(password, maxBcryptBytes); err != nil {
		return "", err
	}
	h, err := bcrypt.GenerateFromPassword([]byte(password), b.cost())
	if err != nil {
		return "", fmt.Errorf("authkit: bcrypt: %w", err)
	}
	return PasswordHash(h), nil
}

// bcrypt64 is the base64 of bcrypt.
var bcrypt64 = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)

// dummy returns a hash with a random salt and a random sum. Both are encoded as bcrypt does
// it: a letter that it does not write would end a verification before the work.
func (b Bcrypt) dummy() (PasswordHash, error) {
	salt, sum := bcrypt64.EncodeToString(randomBytes(16)), bcrypt64.EncodeToString(randomBytes(23))
	return PasswordHash(fmt.Sprintf("$2a$%02d$%s%s", b.cost(), salt, sum)), b.validate()
}

// Verify implements [Hasher].
func (Bcrypt) Verify(password string, hash PasswordHash) error {
	if _, err := parseBcrypt(string(hash)); err != nil {
		return err
	}
	return verifyWith(password, maxBcryptBytes, func(password string) bool {
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	})
}

// NeedsRehash implements [Hasher].
func (b Bcrypt) NeedsRehash(hash PasswordHash) (bool, error) {
	cost, err := parseBcrypt(string(hash))
	return err == nil && cost < b.cost(), err
}

// parseBcrypt returns the cost of a bcrypt hash. x/crypto's own reader takes any
// ident letter, text after the hash and a cost of 31, so the check is ours.
func parseBcrypt(h string) (cost int, err error) {
	if len(h) < 4 || h[0] != '$' || h[1] != '2' || h[3] != '$' || !strings.Contains("aby", h[2:3]) {
		return 0, ErrUnknownScheme
	}
	if len(h) != bcryptHashLen || h[6] != '$' {
		return 0, ErrMalformedHash
	}
	for i := 7; i < len(h); i++ {
		if c := h[i]; !(c == '.' || c == '/' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') {
			return 0, ErrMalformedHash
		}
	}
	tens, ones := h[4], h[5]
	if tens < '0' || tens > '9' || ones < '0' || ones > '9' {
		return 0, ErrMalformedHash
	}
	cost = int(tens-'0')*10 + int(ones-'0')
	if cost < bcrypt.MinCost || cost > maxBcryptCost {
		return 0, ErrMalformedHash
	}
	return cost, nil
}

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
		salt, ok = decodeExact(ab64, fields[1])
	} else {
		salt, ok = []byte(fields[1]), true // Django's salt is its text
	}
	if !ok || len(salt) < minSalt || len(salt) > maxSalt {
		return 0, nil, nil, ErrMalformedHash
	}
	if sum, ok = decodeExact(enc, fields[2]); !ok || len(sum) != sha256.Size {
		return 0, nil, nil, ErrMalformedHash
	}
	return rounds, salt, sum, nil
}

// decodeExact decodes s, and refuses the line ends that Go's decoders skip.
func decodeExact(enc *base64.Encoding, s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := enc.DecodeString(s)
	return b, err == nil
}

// Argon2id is Argon2id in the PHC string form. The zero value hashes with the
// parameters that OWASP recommends: 19 MiB, two passes, one lane.
//
// The parameters m, t and p of a stored hash may be in any order. The hash must
// have version 19. A hash without "v=" has version 16, which this package does
// not compute.
//
// A stored hash may use at most 256 MiB, 16 passes and 16 lanes, and its memory
// times its passes may be at most 1 GiB. A hash beyond these limits is refused
// before memory is allocated.
type Argon2id struct {
	Time      int // passes; zero means 2
	MemoryKiB int // KiB; zero means 19,456 (19 MiB)
	Threads   int // lanes; zero means 1

	// InsecureLowCost also allows parameters below the weakest that OWASP
	// recommends, which are 7 MiB and five passes. It is for tests.
	InsecureLowCost bool
}

type argon2Params struct {
	time, memory uint32
	threads      uint8
}

func (a Argon2id) params() (time, memory, threads int) {
	time, memory, threads = a.Time, a.MemoryKiB, a.Threads
	if time == 0 {
		time = defaultArgon2Time
	}
	if memory == 0 {
		memory = defaultArgon2Memory
	}
	if threads == 0 {
		threads = defaultArgon2Lanes
	}
	return time, memory, threads
}

func argon2Bounded(time, memory, threads int) bool {
	return time >= 1 && time <= maxArgon2Time &&
		threads >= 1 && threads <= maxArgon2Lanes &&
		memory >= 8*threads && memory <= maxArgon2Memory &&
		time*memory <= maxArgon2Work
}

func (a Argon2id) validate() error {
	t, m, p := a.params()
	low := m < minArgon2Memory || m*t < minArgon2Work
	if !argon2Bounded(t, m, p) || low && !a.InsecureLowCost {
		return fmt.Errorf("argon2id with %d passes, %d KiB, %d threads: use at least %d KiB, and %d KiB over all passes, and at most %d KiB, %d passes, %d threads; zeros mean OWASP's parameters",
			t, m, p, minArgon2Memory, minArgon2Work, maxArgon2Memory, maxArgon2Time, maxArgon2Lanes)
	}
	return nil
}

// Hash implements [Hasher]. It fails with ErrPasswordTooLong above 1,024 bytes.
func (a Argon2id) Hash(password string) (PasswordHash, error) {
	if err := a.validate(); err != nil {
		return "", fmt.Errorf("authkit: %w", err)
	}
	if err := checkPasswordBytes(password, maxPasswordBytes); err != nil {
		return "", err
	}
	t, m, p := a.params()
	salt := randomBytes(saltLen)
	sum := argon2.IDKey([]byte(password), salt, uint32(t), uint32(m), uint8(p), 32)
	return a.format(salt, sum), nil
}

// format returns the hash with a salt and a sum of new hashes.
func (a Argon2id) format(salt, sum []byte) PasswordHash {
	t, m, p := a.params()
	return PasswordHash(fmt.Sprintf("%sm=%d,t=%d,p=%d$%s$%s", argon2Prefix, m, t, p, phcB64.EncodeToString(salt), phcB64.EncodeToString(sum)))
}

func (a Argon2id) dummy() (PasswordHash, error) {
	return a.format(randomBytes(saltLen), randomBytes(32)), a.validate()
}

// Verify implements [Hasher].
func (a Argon2id) Verify(password string, hash PasswordHash) error {
	p, salt, sum, err := parseArgon2(string(hash))
	if err != nil {
		return err
	}
	return verifyWith(password, maxPasswordBytes, func(password string) bool {
		got := argon2.IDKey([]byte(password), salt, p.time, p.memory, p.threads, uint32(len(sum)))
		return subtle.ConstantTimeCompare(got, sum) == 1
	})
}

// NeedsRehash implements [Hasher].
func (a Argon2id) NeedsRehash(hash PasswordHash) (bool, error) {
	got, _, _, err := parseArgon2(string(hash))
	if err != nil {
		return false, err
	}
	t, m, _ := a.params()
	return int(got.time) < t || int(got.memory) < m, nil
}

func parseArgon2(h string) (p argon2Params, salt, sum []byte, err error) {
	if !strings.HasPrefix(h, "$argon2id$") {
		return p, nil, nil, ErrUnknownScheme
	}
	rest, ok := strings.CutPrefix(h, argon2Prefix)
	fields := strings.SplitN(rest, "$", 4)
	if !ok || len(fields) != 3 || len(h) > maxHashLen {
		return p, nil, nil, ErrMalformedHash
	}
	// Libraries write the parameters in different orders.
	var memory, passes, lanes int
	for value := range strings.SplitSeq(fields[0], ",") {
		name, digits, _ := strings.Cut(value, "=")
		at := map[string]*int{"m": &memory, "t": &passes, "p": &lanes}[name]
		if at == nil || *at != 0 {
			return p, nil, nil, ErrMalformedHash
		}
		if *at, ok = atoi(digits, maxArgon2Memory); !ok {
			return p, nil, nil, ErrMalformedHash
		}
	}
	if !argon2Bounded(passes, memory, lanes) { // a zero is missing
		return p, nil, nil, ErrMalformedHash
	}
	if salt, ok = decodeExact(phcB64, fields[1]); !ok || len(salt) < minSalt || len(salt) > 64 {
		return p, nil, nil, ErrMalformedHash
	}
	if sum, ok = decodeExact(phcB64, fields[2]); !ok || len(sum) < 16 || len(sum) > 64 {
		return p, nil, nil, ErrMalformedHash
	}
	return argon2Params{time: uint32(passes), memory: uint32(memory), threads: uint8(lanes)}, salt, sum, nil
}
