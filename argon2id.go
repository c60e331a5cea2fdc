package authkit

import (
	"crypto/subtle"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

const (
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
)

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
	if salt = decodeExact(phcB64, fields[1]); len(salt) < minSalt || len(salt) > 64 {
		return p, nil, nil, ErrMalformedHash
	}
	if sum = decodeExact(phcB64, fields[2]); len(sum) < 16 || len(sum) > 64 {
		return p, nil, nil, ErrMalformedHash
	}
	return argon2Params{time: uint32(passes), memory: uint32(memory), threads: uint8(lanes)}, salt, sum, nil
}
