package authkit_test

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/authkit-go/authkit"
)

// Hashes of "admin123" at costs that are quick.
const (
	bcryptOfAdmin = "$2b$04$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS"
	pbkdf2OfAdmin = "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk"
)

var djangoOfAdmin = djangoHash("admin123", "a salt of django", 1000)
var argon2OfAdmin = argon2Hash("admin123", "0123456789abcdef", 1, 8, 1, 32)

// djangoHash is what Django's PBKDF2PasswordHasher stores.
func djangoHash(password, salt string, rounds int) authkit.PasswordHash {
	sum, err := pbkdf2.Key(sha256.New, password, []byte(salt), rounds, sha256.Size)
	if err != nil {
		panic(err)
	}
	return authkit.PasswordHash(fmt.Sprintf("pbkdf2_sha256$%d$%s$%s", rounds, salt, base64.StdEncoding.EncodeToString(sum)))
}

// passlibHash is what passlib's pbkdf2_sha256 stores.
func passlibHash(password, salt string, rounds int) authkit.PasswordHash {
	sum, err := pbkdf2.Key(sha256.New, password, []byte(salt), rounds, sha256.Size)
	if err != nil {
		panic(err)
	}
	ab64 := func(b []byte) string {
		return strings.ReplaceAll(base64.RawStdEncoding.EncodeToString(b), "+", ".")
	}
	return authkit.PasswordHash(fmt.Sprintf("$pbkdf2-sha256$%d$%s$%s", rounds, ab64([]byte(salt)), ab64(sum)))
}

// argon2Hash is the PHC string of Argon2id.
func argon2Hash(password, salt string, time, memory uint32, threads uint8, size uint32) authkit.PasswordHash {
	b64 := base64.RawStdEncoding.EncodeToString
	sum := argon2.IDKey([]byte(password), []byte(salt), time, memory, threads, size)
	return authkit.PasswordHash(fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", memory, time, threads, b64([]byte(salt)), b64(sum)))
}

func bcryptHash(t testing.TB, password string, cost int) authkit.PasswordHash {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	require.NoError(t, err)
	return authkit.PasswordHash(h)
}

type passlibVector struct {
	ID, Scheme, Password, Hash, Passlib, Want string

	PasswordHex string `json:"password_hex"`
	NeedsUpdate *bool  `json:"needs_update"`
}

func (v passlibVector) password(t *testing.T) string {
	if v.PasswordHex == "" {
		return v.Password
	}
	b, err := hex.DecodeString(v.PasswordHex)
	require.NoError(t, err)
	return string(b)
}

// passlibDecisions are our answers where the vectors leave room for a stricter reader
// than passlib.
var passlibDecisions = map[string]error{
	"pbkdf2.rounds.1":             authkit.ErrMalformedHash, // HA-03
	"pbkdf2.rounds.2":             authkit.ErrMalformedHash,
	"pbkdf2.rounds.999":           authkit.ErrMalformedHash,
	"pbkdf2.salt.1-bytes":         authkit.ErrMalformedHash, // HA-02
	"pbkdf2.salt.2-bytes":         authkit.ErrMalformedHash,
	"pbkdf2.lax.rounds-plus-sign": authkit.ErrMalformedHash,
	"pbkdf2.lax.plus-for-dot":     authkit.ErrMalformedHash,
	"pbkdf2.lax.checksum-padded":  authkit.ErrMalformedHash,
	"pbkdf2.lax.trailing-nul":     authkit.ErrPasswordMismatch, // HA-05
	"pbkdf2.password.not-utf8":    authkit.ErrPasswordMismatch, // HA-06
	"bcrypt.cut.other-tail":       authkit.ErrPasswordMismatch, // HA-04
	"bcrypt.cut.inside-a-rune":    authkit.ErrPasswordMismatch,
	"bcrypt.lax.ident-2":          authkit.ErrUnknownScheme, // HA-08
	"bcrypt.password.empty":       nil,
	"other.django":                authkit.ErrMalformedHash, // a salt of 6 bytes
}

// The vectors come out of passlib and pyca/bcrypt. HA-02, HA-03, HA-08.
func TestPasslibVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/passlib.json")
	require.NoError(t, err)
	var file struct{ Vectors []passlibVector }
	require.NoError(t, json.Unmarshal(text, &file))
	require.Len(t, file.Vectors, 87)

	hasher := quickHasher()
	// With the order of the context that made the vectors, and at the cost of the
	// cheapest of them, NeedsRehash is what passlib calls needs_update.
	asPasslib := authkit.Schemes(authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true}, authkit.Bcrypt{})
	decided := 0
	for _, v := range file.Vectors {
		want, ours := passlibDecisions[v.ID]
		if ours {
			decided++
		}
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			hash := authkit.PasswordHash(v.Hash)
			err := hasher.Verify(v.password(t), hash)
			switch v.Want {
			case "match":
				require.NoError(t, err)
				due, err := asPasslib.NeedsRehash(hash)
				require.NoError(t, err)
				require.Equal(t, *v.NeedsUpdate, due)
			case "reject":
				require.Error(t, err)
				if v.Passlib == "mismatch" {
					require.ErrorIs(t, err, authkit.ErrPasswordMismatch)
				}
			case "either":
				require.True(t, ours, "passlibDecisions lacks it")
				require.ErrorIs(t, err, want)
				require.Equal(t, err, hasher.Verify(v.password(t), hash), "not deterministic")
			default:
				t.Fatalf("want %q", v.Want)
			}
			if err != nil {
				require.Contains(t, []error{authkit.ErrPasswordMismatch, authkit.ErrUnknownScheme, authkit.ErrMalformedHash}, err)
			}
			sameReadability(t, hasher, hash, err)
		})
	}
	require.Len(t, passlibDecisions, decided, "a decision about a vector that is not there")
}

// sameReadability holds NeedsRehash to its promise: it tells whether Verify, which
// answered err, can read the hash.
func sameReadability(t testing.TB, hasher authkit.Hasher, hash authkit.PasswordHash, err error) {
	t.Helper()
	_, unreadable := hasher.NeedsRehash(hash)
	if err == nil || err == authkit.ErrPasswordMismatch {
		require.NoError(t, unreadable)
	} else {
		require.Equal(t, err, unreadable)
	}
}

// The vectors are those of the Argon2 reference implementation (src/test.c), as far as
// they are quick.
func TestArgon2idVectors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		password string
		hash     authkit.PasswordHash
	}{
		{"password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		{"password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
		{"password", "$argon2id$v=19$t=2,m=256,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"}, // FR-18: as others order them
		{"password", "$argon2id$v=19$p=2,t=2,m=256$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
		{"password", "$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$9qWtwbpyPd3vm1rB1GThgPzZ3/ydHL92zKL+15XZypg"},
	} {
		t.Run(string(c.hash), func(t *testing.T) {
			t.Parallel()
			require.NoError(t, authkit.Argon2id{}.Verify(c.password, c.hash))
			require.ErrorIs(t, authkit.Argon2id{}.Verify(c.password+"x", c.hash), authkit.ErrPasswordMismatch)
		})
	}
}

// All of the parameters, and the sizes of salt and sum at their limits, against
// x/crypto.
func TestArgon2idForms(t *testing.T) {
	t.Parallel()
	const password = "correct horse"
	for _, c := range []struct {
		name         string
		salt         int
		time, memory uint32
		threads      uint8
		size         uint32
		want         error
	}{
		{"smallest", 8, 1, 8, 1, 16, nil},
		{"16 passes", 16, 16, 64, 1, 32, nil},
		{"16 lanes", 16, 1, 128, 16, 32, nil},
		{"largest salt and sum", 64, 1, 8, 1, 64, nil},
		{"salt of 7 bytes", 7, 1, 8, 1, 32, authkit.ErrMalformedHash},
		{"salt of 65 bytes", 65, 1, 8, 1, 32, authkit.ErrMalformedHash},
		{"sum of 15 bytes", 16, 1, 8, 1, 15, authkit.ErrMalformedHash},
		{"sum of 65 bytes", 16, 1, 8, 1, 65, authkit.ErrMalformedHash},
		{"17 passes", 16, 17, 8, 1, 32, authkit.ErrMalformedHash},
		{"17 lanes", 16, 1, 136, 17, 32, authkit.ErrMalformedHash},
		{"less than 8 KiB a lane", 16, 1, 31, 4, 32, authkit.ErrMalformedHash},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hash := argon2Hash(password, strings.Repeat("s", c.salt), c.time, c.memory, c.threads, c.size)
			require.ErrorIs(t, authkit.Argon2id{}.Verify(password, hash), c.want)
			_, err := authkit.Argon2id{}.NeedsRehash(hash)
			require.ErrorIs(t, err, c.want)
		})
	}
}

// HA-03, HA-08: every byte of a bcrypt hash, in every place where a few are allowed.
// Nothing is computed.
func TestBcryptForms(t *testing.T) {
	t.Parallel()
	check := func(hash string, want error) {
		t.Helper()
		due, err := authkit.Bcrypt{Cost: 10}.NeedsRehash(authkit.PasswordHash(hash))
		require.ErrorIs(t, err, want, "%q", hash)
		if err != nil {
			require.False(t, due, "%q", hash)
		}
	}
	const letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	rest := bcryptOfAdmin[7:]
	for b := range 256 {
		c := string([]byte{byte(b)})
		want := authkit.ErrMalformedHash
		if strings.Contains(letters, c) {
			want = nil
		}
		for _, at := range []int{0, 20, 52} {
			check("$2b$04$"+rest[:at]+c+rest[at+1:], want)
		}
		want = authkit.ErrUnknownScheme
		if strings.Contains("aby", c) {
			want = nil
		}
		check("$2"+c+"$04$"+rest, want)
		for _, ones := range []byte("\x00/0123456789:a\xff") {
			if want = authkit.ErrMalformedHash; b == '0' && ones >= '4' && ones <= '9' || b == '1' && ones >= '0' && ones <= '5' {
				want = nil
			}
			check("$2b$"+c+string([]byte{ones})+"$"+rest, want)
		}
	}
	check("$2b", authkit.ErrUnknownScheme)
	check("$2b$", authkit.ErrMalformedHash)
	for cost, want := range map[string]bool{"04": true, "09": true, "10": false, "11": false} {
		due, err := authkit.Bcrypt{Cost: 10}.NeedsRehash(authkit.PasswordHash("$2b$" + cost + "$" + rest))
		require.NoError(t, err)
		require.Equal(t, want, due, cost)
	}
}

// HA-03: the limits of the parameters of a stored Argon2id hash, and when it is due for
// a new one. Nothing is computed.
func TestArgon2idParameters(t *testing.T) {
	t.Parallel()
	for parameters, c := range map[string]struct {
		due  bool
		want error
	}{
		"m=19456,t=2,p=1":     {false, nil},
		"m=19455,t=2,p=1":     {true, nil},
		"m=19457,t=1,p=1":     {true, nil},
		"m=19457,t=3,p=2":     {false, nil},
		"m=262144,t=4,p=1":    {false, nil},
		"m=262144,t=5,p=1":    {false, authkit.ErrMalformedHash},
		"m=262145,t=1,p=1":    {false, authkit.ErrMalformedHash},
		"m=65536,t=16,p=16":   {false, nil},
		"m=65537,t=16,p=16":   {false, authkit.ErrMalformedHash},
		"m=1024,t=17,p=1":     {false, authkit.ErrMalformedHash},
		"m=1024,t=1,p=17":     {false, authkit.ErrMalformedHash},
		"m=128,t=1,p=16":      {true, nil},
		"m=127,t=1,p=16":      {false, authkit.ErrMalformedHash},
		"m=64,t=0,p=1":        {false, authkit.ErrMalformedHash},
		"m=64,t=1,p=0":        {false, authkit.ErrMalformedHash},
		"m=0,t=1,p=1":         {false, authkit.ErrMalformedHash},
		"m=64,t=1":            {false, authkit.ErrMalformedHash},
		"m=64,p=1":            {false, authkit.ErrMalformedHash},
		"t=1,p=1":             {false, authkit.ErrMalformedHash},
		"m=64,t=1,p=1,p=1":    {false, authkit.ErrMalformedHash},
		"m=64,m=128,t=1,p=1":  {false, authkit.ErrMalformedHash},
		"m=64,t=1,p=1,data=x": {false, authkit.ErrMalformedHash},
		"m=64,t=1,p=1,":       {false, authkit.ErrMalformedHash},
		"m=64,t=01,p=1":       {false, authkit.ErrMalformedHash},
		"m=64,t=x,p=1":        {false, authkit.ErrMalformedHash},
	} {
		hash := authkit.PasswordHash("$argon2id$v=19$" + parameters + "$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
		due, err := authkit.Argon2id{}.NeedsRehash(hash)
		require.ErrorIs(t, err, c.want, parameters)
		require.Equal(t, c.due, due, parameters)
	}
}

func TestDjangoForm(t *testing.T) {
	t.Parallel()
	scheme := authkit.PBKDF2SHA256{}
	for _, c := range []struct {
		name, salt string
		rounds     int
		want       error
	}{
		{"salt of Django 1.4", "c2FsdHNhbHQx", 10_000, nil},
		{"salt of 22", "Wv1SHs0NUMnWq0cI9hpTVd", 20_000, nil},
		{"salt is its text", "=./+ é\n ", 1_000, nil},
		{"salt of 8", "12345678", 1_000, nil},
		{"salt of 1,024", strings.Repeat("s", 1024), 1_000, nil},
		{"salt of 7", "1234567", 1_000, authkit.ErrMalformedHash},
		{"salt of 1,025", strings.Repeat("s", 1025), 1_000, authkit.ErrMalformedHash},
		{"too few rounds", "12345678", 999, authkit.ErrMalformedHash},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hash := djangoHash("pässword", c.salt, c.rounds)
			require.ErrorIs(t, scheme.Verify("pässword", hash), c.want)
			if c.want == nil {
				require.ErrorIs(t, scheme.Verify("pässwore", hash), authkit.ErrPasswordMismatch)
				due, err := scheme.NeedsRehash(hash)
				require.NoError(t, err)
				require.True(t, due)
			}
		})
	}
}

// schemes are all schemes, each as quick as it gets, with a hash of "admin123" that is
// quicker still.
var schemes = []struct {
	name   string
	hasher authkit.Hasher
	limit  int // bytes of a password
	form   *regexp.Regexp
	admin  authkit.PasswordHash
}{
	{"bcrypt", quickBcrypt, 72, regexp.MustCompile(`^\$2a\$04\$[./A-Za-z0-9]{53}$`), bcryptOfAdmin},
	{"pbkdf2", authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true}, 1024, regexp.MustCompile(`^\$pbkdf2-sha256\$1000\$[./A-Za-z0-9]{22}\$[./A-Za-z0-9]{43}$`), pbkdf2OfAdmin},
	{"pbkdf2 of Django", authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true}, 1024, nil, djangoOfAdmin},
	{"argon2id", authkit.Argon2id{}, 1024, regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$[+/A-Za-z0-9]{22}\$[+/A-Za-z0-9]{43}$`), argon2OfAdmin},
}

func TestHashRoundTrip(t *testing.T) {
	t.Parallel()
	for _, s := range schemes {
		if s.form == nil {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			passwords := []string{
				strings.Repeat("k", s.limit), "pässwörd", " ", "correct horse", "密码パス", "🔑👨‍👩‍👧", "a\nb\r\n\t", `'"\$%`, strings.Repeat("é", s.limit/2),
			}
			if s.name == "argon2id" {
				passwords = passwords[:3] // it takes its time
			}
			for _, password := range passwords {
				one, err := s.hasher.Hash(password)
				require.NoError(t, err)
				require.Regexp(t, s.form, string(one))
				two, err := s.hasher.Hash(password)
				require.NoError(t, err)
				require.NotEqual(t, string(one), string(two), "the salt is not random")
				require.NoError(t, s.hasher.Verify(password, one))
				for _, wrong := range []string{password + " ", password[1:], " " + password, strings.ToUpper(password) + "x", ""} {
					require.ErrorIs(t, s.hasher.Verify(wrong, one), authkit.ErrPasswordMismatch, "%q for %q", wrong, password)
				}
				due, err := s.hasher.NeedsRehash(one)
				require.NoError(t, err)
				require.False(t, due)
			}
		})
	}
}

// What x/crypto makes of our parameters, it also reads.
func TestHashesAreReadElsewhere(t *testing.T) {
	t.Parallel()
	h, err := quickBcrypt.Hash("correct horse")
	require.NoError(t, err)
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(h), []byte("correct horse")))

	h, err = authkit.PBKDF2SHA256{Rounds: 1234, InsecureLowRounds: true}.Hash("correct horse")
	require.NoError(t, err)
	salt, err := base64.RawStdEncoding.DecodeString(strings.ReplaceAll(strings.Split(string(h), "$")[3], ".", "+"))
	require.NoError(t, err)
	require.Equal(t, string(passlibHash("correct horse", string(salt), 1234)), string(h))

	h, err = authkit.Argon2id{Time: 3, MemoryKiB: 20_000, Threads: 2}.Hash("correct horse")
	require.NoError(t, err)
	salt, err = base64.RawStdEncoding.DecodeString(strings.Split(string(h), "$")[4])
	require.NoError(t, err)
	require.Equal(t, string(argon2Hash("correct horse", string(salt), 3, 20_000, 2, 32)), string(h))
}

// HA-01: the zero values. This takes a hash of cost 12.
func TestDefaultCosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		hasher authkit.Hasher
		prefix string
	}{
		{authkit.Bcrypt{}, "$2a$12$"},
		{authkit.PBKDF2SHA256{}, "$pbkdf2-sha256$600000$"},
		{authkit.Argon2id{}, "$argon2id$v=19$m=19456,t=2,p=1$"},
	} {
		t.Run(c.prefix, func(t *testing.T) {
			t.Parallel()
			h, err := c.hasher.Hash("correct horse")
			require.NoError(t, err)
			require.Equal(t, c.prefix, string(h)[:len(c.prefix)])
		})
	}
}

// A hash with one bit changed, in any of its parts, is refused or belongs to no
// password that was ever hashed. HA-08.
func TestHashWithABitFlipped(t *testing.T) {
	t.Parallel()
	for _, s := range schemes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			hasher := authkit.Schemes(s.hasher) // its answers for other schemes too
			require.NoError(t, hasher.Verify("admin123", s.admin))
			for i := range s.admin {
				for bit := range 8 {
					flipped := []byte(s.admin)
					flipped[i] ^= 1 << bit
					hash := authkit.PasswordHash(flipped)
					if costly(hash) || s.name == "bcrypt" && i > 28 && bit > 0 {
						continue // of the sum of bcrypt, which is slow, a bit of each letter will do
					}
					err := hasher.Verify("admin123", hash)
					// The last letter of a bcrypt salt has 4 bits that are not part of the salt;
					// other writers set them, so every reader has to take them.
					if s.name == "bcrypt" && i == 28 && err == nil {
						require.Equal(t, bcryptSalt(s.admin), bcryptSalt(hash))
						continue
					}
					require.Error(t, err, "byte %d, bit %d: %s", i, bit, flipped)
					sameReadability(t, hasher, hash, err)
				}
			}
		})
	}
}

// bcryptSalt decodes the salt of a bcrypt hash.
func bcryptSalt(hash authkit.PasswordHash) string {
	alphabet := base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)
	salt, err := alphabet.DecodeString(string(hash)[7:29])
	if err != nil {
		panic(err)
	}
	return string(salt)
}

// costly reports whether a test can do without verifying a hash.
func costly(hash authkit.PasswordHash) bool {
	h := string(hash)
	var m, t, p int
	switch {
	case strings.HasPrefix(h, "$2") && len(h) > 6:
		return h[4:6] > "06"
	case strings.Contains(h, "pbkdf2"):
		rounds, _ := strconv.Atoi(strings.Split(strings.TrimPrefix(h, "$pbkdf2-sha256"), "$")[1])
		return rounds > 20_000
	}
	_, err := fmt.Sscanf(h, "$argon2id$v=19$m=%d,t=%d,p=%d$", &m, &t, &p)
	return err == nil && m*t > 4096
}

// hostile are hashes that nobody's password may be checked against, and what they are
// told apart by. Some would take from hours to years. HA-02, HA-03, HA-08.
var hostile = []struct {
	name string
	hash authkit.PasswordHash
	want error
}{
	{"empty", "", authkit.ErrUnknownScheme},
	{"locked", "!", authkit.ErrUnknownScheme},
	{"star", "*", authkit.ErrUnknownScheme},
	{"the password", "admin123", authkit.ErrUnknownScheme},
	{"NUL", "\x00", authkit.ErrUnknownScheme},
	{"redacted", "[redacted]", authkit.ErrUnknownScheme},
	{"1 MB of dollars", authkit.PasswordHash(strings.Repeat("$", 1<<20)), authkit.ErrUnknownScheme},

	{"bcrypt of cost 31", "$2a$31$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of cost 16", "$2a$16$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of cost 03", "$2a$03$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of cost 00", "$2a$00$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of cost 99", "$2a$99$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of cost +4", "$2a$+4$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of cost -4", "$2a$-4$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of cost 4", "$2a$4$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of cost 4 and a letter more", "$2a$4$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTSx", authkit.ErrMalformedHash},
	{"bcrypt of cost 004", "$2a$004$bcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of a cost that is no number", "$2a$0:$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of a cost that ends before the digits", "$2a$1/$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt with another first sign", "x2a$04$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrUnknownScheme},
	{"bcrypt with trailing text", bcryptOfAdmin + "x", authkit.ErrMalformedHash},
	{"bcrypt with a line end", bcryptOfAdmin + "\n", authkit.ErrMalformedHash},
	{"bcrypt with a NUL", bcryptOfAdmin + "\x00", authkit.ErrMalformedHash},
	{"bcrypt, cut", authkit.PasswordHash(bcryptOfAdmin[:59]), authkit.ErrMalformedHash},
	{"bcrypt, nothing but the ident", "$2a$", authkit.ErrMalformedHash},
	{"bcrypt with a letter of another alphabet", "$2a$04$abcdefghijklmnopqrstuur+uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt with another first letter", "$2a$04$+bcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt with another second letter", "$2a$04$a+cdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt with another last letter", "$2a$04$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiT~", authkit.ErrMalformedHash},
	{"bcrypt with a line end inside", "$2a$04$abcdefghijklmnopqrstuu\n/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt with a dollar inside", "$2a$04$abcdefghijklmnopqrstuu$/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt without a dollar", "$2a$04aabcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrMalformedHash},
	{"bcrypt of 1 MB", authkit.PasswordHash("$2a$04$" + strings.Repeat("a", 1<<20)), authkit.ErrMalformedHash},
	{"$2x$", "$2x$04$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrUnknownScheme},
	{"$2~$", "$2~$04$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrUnknownScheme},
	{"$1a$", "$1a$04$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrUnknownScheme},
	{"$2ab$", "$2ab$04$bcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS", authkit.ErrUnknownScheme},
	{"bcrypt_sha256 of passlib", "$bcrypt-sha256$v=2,t=2b,r=12$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2", authkit.ErrUnknownScheme},

	{"a billion rounds", "$pbkdf2-sha256$1000000000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"2,000,001 rounds", "$pbkdf2-sha256$2000001$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"2^32-1 rounds", "$pbkdf2-sha256$4294967295$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"2^32+1000 rounds", "$pbkdf2-sha256$4294968296$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"2^64+1000 rounds", "$pbkdf2-sha256$18446744073709552616$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"1 MB of digits", authkit.PasswordHash("$pbkdf2-sha256$" + strings.Repeat("1", 1<<20) + "$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk"), authkit.ErrMalformedHash},
	{"leading zero", "$pbkdf2-sha256$01000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"hexadecimal rounds", "$pbkdf2-sha256$0x3e8$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"rounds with an underscore", "$pbkdf2-sha256$1_000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"rounds with a space", "$pbkdf2-sha256$ 1000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"digits of another script", "$pbkdf2-sha256$１０００$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"no rounds", "$pbkdf2-sha256$$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"line end in the salt", "$pbkdf2-sha256$1000$AAECAwQFBgcI\nCQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"line end in the sum", pbkdf2OfAdmin + "\r\n", authkit.ErrMalformedHash},
	{"padded salt", "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw==$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"idle bits in the salt", "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODx$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"idle bits in the sum", "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTl", authkit.ErrMalformedHash},
	{"another alphabet", "$pbkdf2-sha256$1000$AAECAwQFBgcICQoL-_0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"no salt", "$pbkdf2-sha256$1000$$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", authkit.ErrMalformedHash},
	{"salt of 1,025 bytes", passlibHash("admin123", strings.Repeat("s", 1025), 1000), authkit.ErrMalformedHash},
	{"salt of 1 MB", authkit.PasswordHash("$pbkdf2-sha256$1000$" + strings.Repeat("A", 1<<20) + "$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk"), authkit.ErrMalformedHash},
	{"sum of 33 bytes", "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTkA", authkit.ErrMalformedHash},
	{"no sum", "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$", authkit.ErrMalformedHash},
	{"two fields", "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw", authkit.ErrMalformedHash},
	{"four fields", pbkdf2OfAdmin + "$", authkit.ErrMalformedHash},
	{"nothing but the prefix", "$pbkdf2-sha256$", authkit.ErrMalformedHash},
	{"pbkdf2 of SHA-1", "$pbkdf2$1000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D", authkit.ErrUnknownScheme},

	{"Django, a billion rounds", "pbkdf2_sha256$1000000000$saltsaltsalt$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk=", authkit.ErrMalformedHash},
	{"Django, without padding", djangoOfAdmin[:len(djangoOfAdmin)-1], authkit.ErrMalformedHash},
	{"Django, idle bits", "pbkdf2_sha256$1000$saltsaltsalt$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTl=", authkit.ErrMalformedHash},
	{"Django with passlib's letters", "pbkdf2_sha256$1000$saltsaltsalt$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk=", authkit.ErrMalformedHash},
	{"Django, line end", djangoOfAdmin + "\n", authkit.ErrMalformedHash},
	{"Django, no password", "!fZ8Sx1fJdQm7vWZ9yXyJ4mYk3nZBq0PaRdE6UuHw", authkit.ErrUnknownScheme},

	{"4 GiB of argon2", "$argon2id$v=19$m=4194304,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"4 TiB of argon2", "$argon2id$v=19$m=4294967295,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"256 MiB and a KiB", "$argon2id$v=19$m=262145,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"t=2^31", "$argon2id$v=19$m=64,t=2147483648,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"t=2^32+1", "$argon2id$v=19$m=64,t=4294967297,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"more work than memory", "$argon2id$v=19$m=262144,t=5,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"p=0", "$argon2id$v=19$m=64,t=1,p=0$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"t=0", "$argon2id$v=19$m=64,t=0,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"p=257", "$argon2id$v=19$m=65536,t=1,p=257$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"t=+1", "$argon2id$v=19$m=64,t=+1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"t=01", "$argon2id$v=19$m=64,t=01,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"m=-64", "$argon2id$v=19$m=-64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"an unknown parameter", "$argon2id$v=19$m=64,t=1,p=1,keyid=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"a parameter twice", "$argon2id$v=19$m=64,t=1,p=1,m=64$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"a parameter twice and one missing", "$argon2id$v=19$m=64,t=1,t=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"a parameter missing", "$argon2id$v=19$m=64,t=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"the passes missing", "$argon2id$v=19$m=64,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"a parameter twice, first without a number", "$argon2id$v=19$m=x,m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"a parameter without a name", "$argon2id$v=19$64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"argon2 of version 16", "$argon2id$v=16$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"argon2 of no version", "$argon2id$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"argon2 with a line end in the salt", "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1\nNjc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrMalformedHash},
	{"argon2 with a padded sum", argon2OfAdmin + "=", authkit.ErrMalformedHash},
	{"argon2 with trailing text", argon2OfAdmin + "$", authkit.ErrMalformedHash},
	{"argon2 of 1 MB", authkit.PasswordHash("$argon2id$v=19$m=64,t=1,p=1$" + strings.Repeat("A", 1<<20) + "$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk"), authkit.ErrMalformedHash},
	{"argon2i", "$argon2i$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrUnknownScheme},
	{"argon2d", "$argon2d$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", authkit.ErrUnknownScheme},
	{"scrypt", "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E", authkit.ErrUnknownScheme},
	{"sha512-crypt", "$6$rounds=5000$usesomesillystri$KqJWpanXZHKq2BOB43TSaYhEWsQ1Lr5QNyPCDH/Tp.6", authkit.ErrUnknownScheme},
}

// Hostile hashes cost nothing: had one of them been computed once, a thousand times
// would not end. HA-03.
func TestHostileHashes(t *testing.T) {
	t.Parallel()
	hasher := quickHasher()
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for range 1000 / (1 + len(c.hash)/1000) {
				if err := hasher.Verify("admin123", c.hash); err != c.want {
					t.Fatalf("Verify: %v, want %v", err, c.want)
				}
				if _, err := hasher.NeedsRehash(c.hash); err != c.want {
					t.Fatalf("NeedsRehash: %v, want %v", err, c.want)
				}
			}
			require.ErrorIs(t, hasher.Verify("a\x00", c.hash), c.want)
			require.ErrorIs(t, hasher.Verify(strings.Repeat("p", 2000), c.hash), c.want)
		})
	}
}

// Neither does a hostile hash take memory: not even once is what it asks for
// allocated. It cannot be a parallel test, which would see the memory of the others.
func TestHostileHashesTakeNoMemory(t *testing.T) {
	hasher := quickHasher()
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 10 {
				_ = hasher.Verify("admin123", c.hash)
			}
			runtime.ReadMemStats(&after)
			if took, limit := (after.TotalAlloc-before.TotalAlloc)/10, uint64(4096+4*len(c.hash)); took > limit {
				t.Errorf("%d bytes for a hash of %d, at most %d are meant", took, len(c.hash), limit)
			}
		})
	}
}

// A hash of a megabyte that is nothing but separators is refused before it is split: a
// slice of its fields is sixteen times its size.
func TestHashOfSeparatorsTakesNoMemory(t *testing.T) {
	for _, prefix := range []string{"$2a$", "$pbkdf2-sha256$", "pbkdf2_sha256$", "$argon2id$v=19$"} {
		t.Run(prefix, func(t *testing.T) {
			hash := authkit.PasswordHash(prefix + strings.Repeat("$", 1<<20))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			require.ErrorIs(t, quickHasher().Verify("admin123", hash), authkit.ErrMalformedHash)
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4*len(hash)))
		})
	}
}

// The limits on passwords. HA-04, HA-05, HA-06, HA-07.
func TestPasswordsThatNoSchemeTakes(t *testing.T) {
	t.Parallel()
	for _, s := range schemes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range []struct {
				name, password string
				want           error
			}{
				{"72 bytes", strings.Repeat("k", 72), nil},
				{"73 bytes", strings.Repeat("k", 73), map[bool]error{true: authkit.ErrPasswordTooLong}[s.limit < 73]},
				{"64 emoji", strings.Repeat("🔑", 64), map[bool]error{true: authkit.ErrPasswordTooLong}[s.limit < 256]},
				{"1,024 bytes", strings.Repeat("k", 1024), map[bool]error{true: authkit.ErrPasswordTooLong}[s.limit < 1024]},
				{"1,025 bytes", strings.Repeat("k", 1025), authkit.ErrPasswordTooLong},
				{"a megabyte", strings.Repeat("k", 1<<20), authkit.ErrPasswordTooLong},
				{"NUL at the end", "admin123\x00", authkit.ErrPasswordInvalid},
				{"NUL at the front", "\x00admin123", authkit.ErrPasswordInvalid},
				{"NUL inside", "admin123\x00admin123", authkit.ErrPasswordInvalid},
				{"NUL alone", "\x00", authkit.ErrPasswordInvalid},
				{"overlong NUL", "admin123\xc0\x80", authkit.ErrPasswordInvalid},
				{"Latin-1", "p\xe4ssword", authkit.ErrPasswordInvalid},
				{"half a rune", "pass\xc3", authkit.ErrPasswordInvalid},
				{"surrogate", "pass\xed\xa0\x80", authkit.ErrPasswordInvalid},
				{"beyond Unicode", "pass\xf4\x90\x80\x80", authkit.ErrPasswordInvalid},
			} {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					hash, err := s.hasher.Hash(c.password)
					require.ErrorIs(t, err, c.want)
					if c.want == nil {
						require.NoError(t, s.hasher.Verify(c.password, hash))
						require.ErrorIs(t, s.hasher.Verify(c.password+"k", hash), authkit.ErrPasswordMismatch)
						require.ErrorIs(t, s.hasher.Verify(c.password[:len(c.password)-1], hash), authkit.ErrPasswordMismatch)
					} else {
						require.Empty(t, string(hash))
						require.ErrorIs(t, s.hasher.Verify(c.password, s.admin), authkit.ErrPasswordMismatch)
					}
				})
			}
		})
	}
}

// The same password by another name: each of these is taken for its alias by the hash
// function itself, and must not be by us. HA-04, HA-05, HA-06.
func TestPasswordAliases(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 7) + "ab"
	digest := sha256.Sum256([]byte(strings.Repeat("k", 65)))
	for _, c := range []struct {
		name, alias string
		hash        authkit.PasswordHash
	}{
		{"bcrypt drops what follows 72 bytes", long + "x", bcryptHash(t, long, 4)},
		{"bcrypt repeats its key", "p\x00p", bcryptHash(t, "p", 4)},
		{"HMAC pads with NUL", "admin123\x00", pbkdf2OfAdmin},
		{"HMAC pads with NUL, in Django's form", "admin123\x00", djangoOfAdmin},
		{"HMAC replaces a long key by its digest", string(digest[:]), passlibHash(strings.Repeat("k", 65), "saltsalt", 1000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.True(t, rawVerify(c.alias, c.hash), "not an alias at all")
			require.ErrorIs(t, quickHasher().Verify(c.alias, c.hash), authkit.ErrPasswordMismatch)
		})
	}
}

// rawVerify is a verifier without any of our checks.
func rawVerify(password string, hash authkit.PasswordHash) bool {
	if strings.HasPrefix(string(hash), "$2") {
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}
	fields := strings.Split(string(hash), "$")
	n := len(fields)
	rounds, _ := strconv.Atoi(fields[n-3])
	if strings.HasPrefix(string(hash), "pbkdf2_sha256$") {
		return djangoHash(password, fields[n-2], rounds) == hash
	}
	salt, _ := base64.RawStdEncoding.DecodeString(strings.ReplaceAll(fields[n-2], ".", "+"))
	return passlibHash(password, string(salt), rounds) == hash
}

// A password that cannot be right costs what a wrong one costs: the work of a hash, seen
// in what it allocates. HA-07. It cannot be a parallel test.
func TestVerifyWorksForEveryPassword(t *testing.T) {
	for _, s := range schemes {
		t.Run(s.name, func(t *testing.T) {
			wrong := 0.0 // the allocations for the first one
			for _, password := range []string{
				"admin124", "", strings.Repeat("k", 72), strings.Repeat("k", 73), strings.Repeat("k", 1025), "a\x00b", "a\xffb",
			} {
				n := fewestAllocs(func() {
					if s.hasher.Verify(password, s.admin) != authkit.ErrPasswordMismatch {
						t.Fatal("no mismatch")
					}
				})
				if wrong == 0 {
					wrong = n
				}
				if n < wrong-1 || n > 2*wrong {
					t.Errorf("%d bytes: %v allocations, %v for a wrong password", len(password), n, wrong)
				}
			}
			if parsed := fewestAllocs(func() { _, _ = s.hasher.NeedsRehash(s.admin) }); wrong < parsed+2 {
				t.Errorf("%v allocations with work, %v without: the test shows nothing", wrong, parsed)
			}
		})
	}
}

// fewestAllocs returns what a function allocates: the runtime, which is counted too, allocates now
// and then, and not each time.
func fewestAllocs(f func()) float64 {
	fewest := testing.AllocsPerRun(1, f)
	for range 5 {
		fewest = min(fewest, testing.AllocsPerRun(1, f))
	}
	return fewest
}

// HA-01, HA-03: costs that are too low, or too high, are refused by Hash and by New,
// which names the field.
func TestCostsAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		hasher authkit.Hasher
		ok     bool
		says   string
	}{
		{"bcrypt 9", authkit.Bcrypt{Cost: 9}, false, "bcrypt cost 9: use 10 to 15, or 0 for 12"},
		{"bcrypt 4", authkit.Bcrypt{Cost: 4}, false, "bcrypt cost 4: use 10 to 15"},
		{"bcrypt 1", authkit.Bcrypt{Cost: 1}, false, "bcrypt cost 1:"},
		{"bcrypt -1", authkit.Bcrypt{Cost: -1}, false, "bcrypt cost -1:"},
		{"bcrypt 16", authkit.Bcrypt{Cost: 16}, false, "bcrypt cost 16:"},
		{"bcrypt 31", authkit.Bcrypt{Cost: 31}, false, "bcrypt cost 31:"},
		{"bcrypt 4 for tests", authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, true, ""},
		{"bcrypt 3 for tests", authkit.Bcrypt{Cost: 3, InsecureLowCost: true}, false, "bcrypt cost 3: use 4 to 15"},
		{"bcrypt 10", authkit.Bcrypt{Cost: 10}, true, ""},

		{"PBKDF2 999", authkit.PBKDF2SHA256{Rounds: 999, InsecureLowRounds: true}, false, "PBKDF2 rounds 999: use 1000 to 2000000, or 0 for 600000"},
		{"PBKDF2 -1", authkit.PBKDF2SHA256{Rounds: -1}, false, "PBKDF2 rounds -1:"},
		{"PBKDF2 2,000,001", authkit.PBKDF2SHA256{Rounds: 2_000_001}, false, "PBKDF2 rounds 2000001:"},
		{"PBKDF2 1,000", authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true}, true, ""},
		{"PBKDF2, the most 999", authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true, MaxRounds: 999}, false, "PBKDF2 MaxRounds 999: use 1000 to 10000000, or 0 for 2000000"},
		{"PBKDF2, the most 10,000,001", authkit.PBKDF2SHA256{MaxRounds: 10_000_001}, false, "PBKDF2 MaxRounds 10000001:"},
		{"PBKDF2, the most -1", authkit.PBKDF2SHA256{MaxRounds: -1}, false, "PBKDF2 MaxRounds -1:"},
		{"PBKDF2, the most 1,000", authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true, MaxRounds: 1000}, true, ""},
		{"PBKDF2, the most 10,000,000", authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true, MaxRounds: 10_000_000}, true, ""},
		{"PBKDF2, 599,999 rounds", authkit.PBKDF2SHA256{Rounds: 599_999}, false, "PBKDF2 rounds 599999: use 600000 to 2000000"},

		{"argon2id, one pass of 19 MiB", authkit.Argon2id{Time: 1}, false, "argon2id with 1 passes, 19456 KiB, 1 threads: use at least 7168 KiB, and 35840 KiB over all passes"},
		{"argon2id, 8 KiB", authkit.Argon2id{MemoryKiB: 8}, false, "argon2id with 2 passes, 8 KiB"},
		{"argon2id, -1 passes", authkit.Argon2id{Time: -1}, false, "argon2id with -1 passes"},
		{"argon2id, -1 KiB", authkit.Argon2id{MemoryKiB: -1}, false, "argon2id with"},
		{"argon2id, two negatives", authkit.Argon2id{Time: -2, MemoryKiB: -19456}, false, "argon2id with"},
		{"argon2id, -1 threads", authkit.Argon2id{Threads: -1}, false, "-1 threads"},
		{"argon2id, 17 threads", authkit.Argon2id{Threads: 17}, false, "17 threads"},
		{"argon2id, 17 passes", authkit.Argon2id{Time: 17, MemoryKiB: 8192}, false, "17 passes"},
		{"argon2id, 256 MiB and a KiB", authkit.Argon2id{MemoryKiB: 256*1024 + 1}, false, "262145 KiB"},
		{"argon2id, 4 GiB", authkit.Argon2id{MemoryKiB: 4 << 20}, false, "4194304 KiB"},
		{"argon2id, five passes of 256 MiB", authkit.Argon2id{Time: 5, MemoryKiB: 256 * 1024}, false, "5 passes, 262144 KiB"},
		{"argon2id, 7 MiB and five passes", authkit.Argon2id{Time: 5, MemoryKiB: 7168}, true, ""},
		{"argon2id, 7,167 KiB and six passes", authkit.Argon2id{Time: 6, MemoryKiB: 7167}, false, "6 passes, 7167 KiB"},
		{"argon2id, 7,168 KiB and four passes", authkit.Argon2id{Time: 4, MemoryKiB: 7168}, false, "4 passes, 7168 KiB"},
		{"argon2id, one pass and 35 MiB", authkit.Argon2id{Time: 1, MemoryKiB: 35 * 1024}, true, ""},
		{"argon2id, four passes", authkit.Argon2id{Time: 4, MemoryKiB: 9728}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hash, err := c.hasher.Hash("correct horse")
			_, newErr := authkit.New(authkit.Config{Secret: []byte(testSecret), Passwords: authkit.PasswordConfig{Hasher: c.hasher}})
			_, behindErr := authkit.New(authkit.Config{Secret: []byte(testSecret), Passwords: authkit.PasswordConfig{Hasher: authkit.Schemes(quickBcrypt, c.hasher)}})
			if c.ok {
				require.NoError(t, err)
				require.NoError(t, newErr)
				require.NoError(t, behindErr)
				return
			}
			require.Empty(t, string(hash))
			require.ErrorContains(t, err, "authkit: ")
			require.ErrorContains(t, err, c.says)
			for _, err := range []error{newErr, behindErr} {
				require.ErrorContains(t, err, "Config.Passwords.Hasher: ")
				require.ErrorContains(t, err, c.says)
			}
		})
	}
}

// HA-03: an option raises the bound on stored rounds to 10,000,000.
func TestMaxRounds(t *testing.T) {
	t.Parallel()
	const rest = "$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk"
	for _, c := range []struct {
		most, rounds int
		want         error
	}{
		{0, 2_000_000, nil},
		{0, 2_000_001, authkit.ErrMalformedHash},
		{10_000_000, 10_000_000, nil},
		{10_000_000, 10_000_001, authkit.ErrMalformedHash},
		{5_000, 5_000, nil},
		{5_000, 5_001, authkit.ErrMalformedHash},
		{-1, 1_000, authkit.ErrMalformedHash},
	} {
		_, err := authkit.PBKDF2SHA256{MaxRounds: c.most}.NeedsRehash(authkit.PasswordHash(fmt.Sprintf("$pbkdf2-sha256$%d%s", c.rounds, rest)))
		require.ErrorIs(t, err, c.want, "%d of at most %d rounds", c.rounds, c.most)
	}
}

// 10,000,000 is the most: also for a Hasher that no New has looked at. HA-03.
func TestMaxRoundsHasACeiling(t *testing.T) {
	t.Parallel()
	_, err := authkit.PBKDF2SHA256{MaxRounds: 1 << 30}.NeedsRehash("$pbkdf2-sha256$1000000000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk")
	require.ErrorIs(t, err, authkit.ErrMalformedHash)
}

// A chain that only reads PBKDF2 can bound its rounds below the default of new hashes.
func TestMaxRoundsBelowTheDefault(t *testing.T) {
	t.Parallel()
	_, err := authkit.New(authkit.Config{
		Secret:    []byte(testSecret),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Schemes(quickBcrypt, authkit.PBKDF2SHA256{MaxRounds: 100_000})},
	})
	require.NoError(t, err, "the mend that the error names, Rounds 0, is what was set")
}

// Who lowers the bound on what is read does not lower what is written.
func TestMaxRoundsDoesNotLowerRounds(t *testing.T) {
	t.Parallel()
	_, err := authkit.PBKDF2SHA256{MaxRounds: 1000}.Hash("correct horse")
	require.ErrorContains(t, err, "PBKDF2 with 600000 rounds")
	_, err = authkit.New(authkit.Config{Secret: []byte(testSecret), Passwords: authkit.PasswordConfig{Hasher: authkit.PBKDF2SHA256{MaxRounds: 1000}}})
	require.ErrorContains(t, err, "Config.Passwords.Hasher: ")
}

// Every choice that OWASP's cheat sheet offers is taken.
func TestArgon2idOfOWASP(t *testing.T) {
	t.Parallel()
	for _, h := range []authkit.Argon2id{
		{MemoryKiB: 47104, Time: 1}, {MemoryKiB: 19456, Time: 2}, {MemoryKiB: 12288, Time: 3}, {MemoryKiB: 9216, Time: 4}, {MemoryKiB: 7168, Time: 5},
	} {
		hash, err := h.Hash("correct horse")
		require.NoError(t, err, "%+v", h)
		require.NoError(t, h.Verify("correct horse", hash))
	}
	_, err := authkit.Argon2id{MemoryKiB: 2432, Time: 16}.Hash("correct horse")
	require.Error(t, err, "many passes do not make up for little memory")
}

func TestSchemes(t *testing.T) {
	t.Parallel()
	var (
		quickPBKDF2 = authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true}
		bcryptFirst = authkit.Schemes(quickBcrypt, quickPBKDF2, authkit.Argon2id{})
		pbkdf2First = authkit.Schemes(quickPBKDF2, authkit.Argon2id{}, quickBcrypt)
		nested      = authkit.Schemes(authkit.Schemes(quickBcrypt), authkit.Schemes(quickPBKDF2, authkit.Argon2id{}))
	)
	t.Run("the first one hashes", func(t *testing.T) {
		t.Parallel()
		for prefix, hasher := range map[string]authkit.Hasher{"$2a$04$": bcryptFirst, "$pbkdf2-sha256$1000$": pbkdf2First} {
			h, err := hasher.Hash("correct horse")
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(h), prefix))
		}
	})
	t.Run("all of them verify", func(t *testing.T) {
		t.Parallel()
		for _, s := range schemes {
			for _, hasher := range []authkit.Hasher{bcryptFirst, pbkdf2First, nested} {
				require.NoError(t, hasher.Verify("admin123", s.admin))
				require.ErrorIs(t, hasher.Verify("admin124", s.admin), authkit.ErrPasswordMismatch)
			}
		}
	})
	t.Run("a scheme that is not named does not", func(t *testing.T) {
		t.Parallel()
		only := authkit.Schemes(quickBcrypt)
		require.ErrorIs(t, only.Verify("admin123", pbkdf2OfAdmin), authkit.ErrUnknownScheme)
		_, err := only.NeedsRehash(pbkdf2OfAdmin)
		require.ErrorIs(t, err, authkit.ErrUnknownScheme)
		for _, s := range schemes {
			for _, other := range schemes {
				if s.name[:6] != other.name[:6] {
					require.ErrorIs(t, s.hasher.Verify("admin123", other.admin), authkit.ErrUnknownScheme, "%s of %s", s.name, other.name)
				}
			}
		}
	})
	t.Run("the password limit is that of the first one", func(t *testing.T) {
		t.Parallel()
		long := strings.Repeat("k", 73)
		_, err := bcryptFirst.Hash(long)
		require.ErrorIs(t, err, authkit.ErrPasswordTooLong)
		_, err = pbkdf2First.Hash(long)
		require.NoError(t, err)
		require.NoError(t, bcryptFirst.Verify(long, passlibHash(long, "saltsalt", 1000)), "a legacy hash of a long password still verifies")
	})
	t.Run("a nil Hasher", func(t *testing.T) {
		t.Parallel()
		for _, hasher := range []authkit.Hasher{authkit.Schemes(nil), authkit.Schemes(quickBcrypt, nil), authkit.Schemes(authkit.Schemes(nil))} {
			_, err := authkit.New(authkit.Config{Secret: []byte(testSecret), Passwords: authkit.PasswordConfig{Hasher: hasher}})
			require.ErrorContains(t, err, "Config.Passwords.Hasher: a nil Hasher: pass Bcrypt{}")
		}
	})
	t.Run("the arguments are copied", func(t *testing.T) {
		t.Parallel()
		more := []authkit.Hasher{quickPBKDF2}
		hasher := authkit.Schemes(quickBcrypt, more...)
		more[0] = nil
		require.NoError(t, hasher.Verify("admin123", pbkdf2OfAdmin))
	})
}

func TestNeedsRehash(t *testing.T) {
	t.Parallel()
	quickPBKDF2 := authkit.PBKDF2SHA256{Rounds: 2000, InsecureLowRounds: true}
	for _, c := range []struct {
		name   string
		hasher authkit.Hasher
		hash   authkit.PasswordHash
		want   bool
	}{
		{"bcrypt of the cost", authkit.Bcrypt{Cost: 12}, "$2b$12$abcdefghijklmnopqrstuu8nVP5YIGOh70Ay1z97h1tTXrbCO0wzK", false},
		{"bcrypt of the cost, another ident", authkit.Bcrypt{}, "$2y$12$abcdefghijklmnopqrstuu8nVP5YIGOh70Ay1z97h1tTXrbCO0wzK", false},
		{"bcrypt of a lower cost", authkit.Bcrypt{Cost: 13}, "$2b$12$abcdefghijklmnopqrstuu8nVP5YIGOh70Ay1z97h1tTXrbCO0wzK", true},
		{"bcrypt of the cost 09", authkit.Bcrypt{}, "$2b$09$abcdefghijklmnopqrstuu8nVP5YIGOh70Ay1z97h1tTXrbCO0wzK", true},
		{"bcrypt of a higher cost", authkit.Bcrypt{Cost: 10}, "$2b$12$abcdefghijklmnopqrstuu8nVP5YIGOh70Ay1z97h1tTXrbCO0wzK", false},
		{"bcrypt of the highest cost", authkit.Bcrypt{Cost: 15}, "$2b$15$abcdefghijklmnopqrstuu8nVP5YIGOh70Ay1z97h1tTXrbCO0wzK", false},

		{"PBKDF2 of the rounds", authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true}, pbkdf2OfAdmin, false},
		{"PBKDF2 of fewer rounds", quickPBKDF2, pbkdf2OfAdmin, true},
		{"PBKDF2 of fewer than 600,000", authkit.PBKDF2SHA256{}, "$pbkdf2-sha256$599999$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", true},
		{"PBKDF2 of 600,000", authkit.PBKDF2SHA256{}, "$pbkdf2-sha256$600000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", false},
		{"PBKDF2 of more rounds", authkit.PBKDF2SHA256{}, "$pbkdf2-sha256$600001$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk", false},

		{"argon2id of the parameters", authkit.Argon2id{}, "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", false},
		{"argon2id of less memory", authkit.Argon2id{}, "$argon2id$v=19$m=19455,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", true},
		{"argon2id of fewer passes", authkit.Argon2id{}, "$argon2id$v=19$m=19456,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", true},
		{"argon2id of the most that is read", authkit.Argon2id{}, "$argon2id$v=19$m=262144,t=4,p=16$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", false},
		{"argon2id of the most passes that are read", authkit.Argon2id{}, "$argon2id$v=19$m=65536,t=16,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", false},
		{"argon2id of more", authkit.Argon2id{}, "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6+rUhjTk", false},

		{"the second scheme, whatever its cost", authkit.Schemes(quickBcrypt, authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true}), pbkdf2OfAdmin, true},
		{"the third scheme", quickHasher(), argon2OfAdmin, true},
		{"the first scheme", authkit.Schemes(authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true}, quickBcrypt), pbkdf2OfAdmin, false},
		{"the first scheme at a lower cost", authkit.Schemes(quickPBKDF2, quickBcrypt), pbkdf2OfAdmin, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			due, err := c.hasher.NeedsRehash(c.hash)
			require.NoError(t, err)
			require.Equal(t, c.want, due)
		})
	}
}

// A hash that cannot be read is not due: there is nothing to replace it by.
func TestNeedsRehashOfABrokenHash(t *testing.T) {
	t.Parallel()
	for _, hash := range []authkit.PasswordHash{"$2a$04$", "$pbkdf2-sha256$", "$argon2id$", "!"} {
		for _, hasher := range []authkit.Hasher{quickHasher(), authkit.Bcrypt{}, authkit.PBKDF2SHA256{}, authkit.Argon2id{}} {
			due, err := hasher.NeedsRehash(hash)
			require.Error(t, err)
			require.False(t, due, "%s", string(hash))
		}
	}
}

// A secret is what must not show up anywhere.
const secretText = "SECRETsecretSECRET"

// shapes puts a value where careless code would put it.
func shapes(v any) map[string]any {
	type holder struct {
		Name  string
		Value any
	}
	return map[string]any{
		"bare":    v,
		"struct":  holder{"x", v},
		"pointer": &holder{"x", v},
		"slice":   []any{v},
		"map":     map[string]any{"x": v},
		"nested":  map[string][]holder{"x": {{"y", v}}},
		"error":   fmt.Errorf("it broke: %v", v),
	}
}

// secrets is everything that redacts itself, with the secret inside.
func secrets() map[string]any {
	var (
		hash  = authkit.PasswordHash(secretText)
		token = authkit.Token{AccessToken: secretText, TokenType: "bearer", ExpiresIn: 1800, User: authkit.User{ID: "id"}}
		key   = authkit.Key{ID: "kid", Algorithm: authkit.HS256, Secret: []byte(secretText)}

		config = authkit.Config{Secret: []byte(secretText), Tokens: authkit.TokenConfig{Keys: []authkit.Key{key}}}
	)
	return map[string]any{
		"hash": hash, "pointer to hash": &hash, "hashes": []authkit.PasswordHash{hash}, "map of hashes": map[string]authkit.PasswordHash{"x": hash},
		"stored user": authkit.StoredUser{PasswordHash: hash},
		"token":       token, "pointer to token": &token, "tokens": []authkit.Token{token},
		"key": key, "pointer to key": &key, "keys": []authkit.Key{key},
		"token config": authkit.TokenConfig{Keys: []authkit.Key{key}},
		"config":       config, "pointer to config": &config,
	}
}

// requireRedacted refuses text with the secret in it, in any spelling that a verb has.
func requireRedacted(t *testing.T, text string) {
	t.Helper()
	compact := strings.ToLower(strings.NewReplacer(" ", "", "0x", "", ",", "", "U+00", "").Replace(text))
	for _, spelling := range []string{
		strings.ToLower(secretText),
		hex.EncodeToString([]byte(secretText)),
		strings.ToLower(base64.StdEncoding.EncodeToString([]byte(secretText))),
		fmt.Sprintf("%d", secretText[0]) + fmt.Sprintf("%d", secretText[1]) + fmt.Sprintf("%d", secretText[2]), // as bytes
	} {
		if strings.Contains(compact, spelling) {
			t.Errorf("the secret shows: %s", text)
			return
		}
	}
}

// Secrets redact themselves under every verb that go vet lets through; for %p and %w,
// which it does not, package fmt asks no method of a value.
func TestRedactionInFmt(t *testing.T) {
	t.Parallel()
	for name, secret := range secrets() {
		for shape, v := range shapes(secret) {
			t.Run(name+"/"+shape, func(t *testing.T) {
				t.Parallel()
				for _, verb := range strings.Fields("%v %+v %#v %s %+s %q %#q %x %#x %X % x %d %+d %c %b %o %t %e %g %U %T %10v %-40s %.3s %y") {
					requireRedacted(t, fmt.Sprintf(verb, v))
				}
				requireRedacted(t, fmt.Sprint(v))
				requireRedacted(t, fmt.Sprintln(v))
				surplus := "nothing to put it in"
				//lint:ignore SA5009 that is what is tested
				requireRedacted(t, fmt.Sprintf(surplus, v))
			})
		}
	}
	require.Equal(t, "[redacted]", authkit.PasswordHash(secretText).String())
	require.Equal(t, `authkit.Token{[redacted], ExpiresIn: 1800, User: "id"}`, authkit.Token{AccessToken: secretText, ExpiresIn: 1800, User: authkit.User{ID: "id"}}.String())
	require.Equal(t, `authkit.Key{ID: "kid", Algorithm: "HS256", [redacted]}`, authkit.Key{ID: "kid", Algorithm: authkit.HS256, Secret: []byte(secretText)}.String())
}

// A struct without a Format method, behind a pointer inside another value, is printed
// under %s and %q with none of its fields asked for theirs.
func TestRedactionBehindAPointer(t *testing.T) {
	t.Parallel()
	type holder struct {
		Name   string
		User   *authkit.StoredUser
		Tokens *authkit.TokenConfig
		Config *authkit.Config
	}
	key := authkit.Key{Algorithm: authkit.HS256, Secret: []byte(secretText)}
	for name, h := range map[string]holder{
		"stored user":  {User: &authkit.StoredUser{PasswordHash: secretText}},
		"token config": {Tokens: &authkit.TokenConfig{Keys: []authkit.Key{key}}},
		"config":       {Config: &authkit.Config{Secret: []byte(secretText)}},
	} {
		for _, verb := range strings.Fields("%v %+v %#v %s %q %x %d") {
			t.Run(name+"/"+verb, func(t *testing.T) {
				t.Parallel()
				requireRedacted(t, fmt.Sprintf(verb, h))
				requireRedacted(t, fmt.Sprintf(verb, []any{h.User, h.Tokens, h.Config}))
			})
		}
	}
}

func TestRedactionInSlog(t *testing.T) {
	t.Parallel()
	for name, secret := range secrets() {
		for shape, v := range shapes(secret) {
			t.Run(name+"/"+shape, func(t *testing.T) {
				t.Parallel()
				var text, json bytes.Buffer
				for _, logger := range []*slog.Logger{slog.New(slog.NewTextHandler(&text, nil)), slog.New(slog.NewJSONHandler(&json, nil))} {
					logger.Info("careless", "value", v)
					logger.With("value", v).WithGroup("g").Info("careless", slog.Group("h", "value", v))
				}
				requireRedacted(t, text.String())
				if strings.Contains(name, "token") && !strings.Contains(name, "config") && (name == "tokens" || shape != "bare") && shape != "error" {
					return // inside another value a Token has its JSON form, which is the response to a login
				}
				requireRedacted(t, json.String())
			})
		}
	}
}

// Handlers get a text, with nothing to look into.
func TestLogValue(t *testing.T) {
	t.Parallel()
	for _, secret := range []slog.LogValuer{
		authkit.PasswordHash(secretText), authkit.Token{AccessToken: secretText}, authkit.Key{Secret: []byte(secretText)},
	} {
		value := secret.LogValue()
		require.Equal(t, slog.KindString, value.Kind())
		requireRedacted(t, value.String())
	}
}

// A Kit that is printed whole, as a debugging line does, does not show what it signs
// with.
func TestRedactionOfAKit(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	addUser(t, kit, "ada@example.com", loginPassword)
	_, err := kit.Login(t.Context(), "ada@example.com", loginPassword) // makes all that is made late
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		text := fmt.Sprintf(verb, kit)
		require.NotContains(t, text, testSecret)
		require.NotContains(t, text, hex.EncodeToString([]byte(testSecret)))
		require.NotContains(t, text, strings.Trim(fmt.Sprint([]byte(testSecret)), "[]"))
	}
}

func TestRedactionInJSON(t *testing.T) {
	t.Parallel()
	for name, secret := range secrets() {
		if strings.Contains(name, "token") {
			continue // the JSON form of a Token is the response to a login
		}
		for shape, v := range shapes(secret) {
			t.Run(name+"/"+shape, func(t *testing.T) {
				t.Parallel()
				text, err := json.Marshal(v)
				requireRedacted(t, string(text))
				switch {
				case strings.Contains(name, "key") && shape != "error":
					require.ErrorContains(t, err, "a Key is not encoded as JSON")
				case strings.Contains(name, "config") && shape != "error":
					require.Error(t, err)
				default:
					require.NoError(t, err)
				}
			})
		}
	}
	hash := authkit.PasswordHash(secretText)
	text, err := json.Marshal(map[string]any{"hash": hash, "pointer": &hash})
	require.NoError(t, err)
	require.JSONEq(t, `{"hash":"[redacted]","pointer":"[redacted]"}`, string(text))

	text, err = json.Marshal(authkit.StoredUser{User: authkit.User{ID: "id"}, PasswordHash: hash})
	require.NoError(t, err)
	require.NotContains(t, strings.ToLower(string(text)), "hash")

	type record struct{ Hash authkit.PasswordHash }
	text, err = xml.Marshal(record{hash})
	require.NoError(t, err)
	require.Equal(t, "<record><Hash>[redacted]</Hash></record>", string(text))
}

// The errors of a Hasher never quote what it was given.
func TestHasherErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	hasher := quickHasher()
	for _, hash := range []authkit.PasswordHash{secretText, "$2a$04$" + secretText, "$pbkdf2-sha256$" + secretText, "$argon2id$" + secretText, bcryptOfAdmin} {
		err := hasher.Verify(secretText, hash)
		require.Error(t, err)
		requireRedacted(t, err.Error())
	}
	for _, s := range schemes {
		_, err := s.hasher.Hash(secretText + strings.Repeat("\x00", 10))
		require.Error(t, err)
		requireRedacted(t, err.Error())
	}
}

// FuzzHashStrings looks for a hash string that is read wrongly: one that panics, that
// Verify and NeedsRehash disagree about, or that verifies although it is not to the
// letter what its scheme makes of the password. RE-02.
func FuzzHashStrings(f *testing.F) {
	const password = "admin123"
	for _, s := range schemes {
		f.Add(string(s.admin))
		f.Add(string(s.admin) + "\n")
	}
	for _, c := range hostile {
		if len(c.hash) < 1000 {
			f.Add(string(c.hash))
		}
	}
	text, err := os.ReadFile("testdata/passlib.json")
	require.NoError(f, err)
	var file struct{ Vectors []passlibVector }
	require.NoError(f, json.Unmarshal(text, &file))
	for _, v := range file.Vectors {
		f.Add(v.Hash)
	}

	hasher := quickHasher()
	f.Fuzz(func(t *testing.T, text string) {
		hash := authkit.PasswordHash(text)
		if _, err := hasher.NeedsRehash(hash); err != nil {
			if err != authkit.ErrUnknownScheme && err != authkit.ErrMalformedHash {
				t.Fatalf("NeedsRehash: %v", err)
			}
			if got := hasher.Verify(password, hash); got != err {
				t.Fatalf("NeedsRehash: %v, but Verify: %v", err, got)
			}
			return
		}
		if costly(hash) {
			return
		}
		switch err := hasher.Verify(password, hash); {
		case err == authkit.ErrPasswordMismatch:
			if remake(t, password, text) == text {
				t.Fatal("a mismatch, although it is the hash of the password")
			}
		case err != nil:
			t.Fatalf("NeedsRehash takes it, but Verify: %v", err)
		case remake(t, password, text) != text:
			t.Fatal("verifies, although it is not the hash of the password")
		}
		if err := hasher.Verify(password+"\x00", hash); err != authkit.ErrPasswordMismatch {
			t.Fatalf("with a NUL: %v", err)
		}
	})
}

// remake makes a hash of the password with the parameters of another one that can be
// read. Its parsers are as lax as they come; that they find no other hash that
// verifies is the point.
func remake(t *testing.T, password, hash string) string {
	fields := strings.Split(hash, "$")
	switch {
	case strings.HasPrefix(hash, "$2"):
		if !regexp.MustCompile(`^\$2[aby]\$0[4-6]\$[./A-Za-z0-9]{53}$`).MatchString(hash) || bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
			return ""
		}
		return hash
	case strings.HasPrefix(hash, "$pbkdf2-sha256$"):
		rounds, _ := strconv.Atoi(fields[2])
		salt, _ := base64.RawStdEncoding.DecodeString(strings.ReplaceAll(fields[3], ".", "+"))
		return string(passlibHash(password, string(salt), rounds))
	case strings.HasPrefix(hash, "pbkdf2_sha256$"):
		rounds, _ := strconv.Atoi(fields[1])
		return string(djangoHash(password, fields[2], rounds))
	}
	var memory, time uint32
	var threads uint8
	_, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &memory, &time, &threads)
	require.NoError(t, err)
	salt, _ := base64.RawStdEncoding.DecodeString(fields[4])
	sum, _ := base64.RawStdEncoding.DecodeString(fields[5])
	return string(argon2Hash(password, string(salt), time, memory, threads, uint32(len(sum))))
}
