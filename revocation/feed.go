package revocation

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	// readBurst is how many reads of the store may follow each other directly.
	// After them there is one a second. Responses in between use the last read.
	readBurst = 5

	// lookBack is the age up to which a read looks for new revocations, since
	// the clock of the instance that revoked may be behind. Once a minute, a
	// read covers everything.
	lookBack = 2 * time.Minute

	// maxSigned is how many different responses are signed per state. Other
	// requests get the whole list.
	maxSigned = 64
)

// A feed is the list of a Kit, numbered in the order in which the feed has
// found its entries. A follower gets the entries with a higher number than its
// last. The clock that dated an entry therefore does not matter.
type feed struct {
	kit      *authkit.Kit
	instance string        // the start of its cursors; other instances have other numbers
	life     int64         // of entries, in seconds
	turn     chan struct{} // a mutex with a context; it guards the fields below

	known   map[record]int64 // the times of entries; the keys have no number and time
	log     []record         // in the order of the numbers; entries never change
	last    uint64           // number
	sum     [2]uint64        // of the hashes of known; see count
	minute  int64            // of the last full read, in minutes since 1970
	reads   float64          // the reads that may be made now
	counted time.Time        // the time at which reads was updated
	state   *state
	err     error // of the last read
}

// A record is an entry of the list.
type record struct {
	key    digest
	user   bool
	at     int64 // seconds since 1970
	number uint64
}

// A state is a snapshot of a feed. Only signed changes.
type state struct {
	feed  *feed
	until time.Time
	tag   string
	log   []record
	last  uint64

	mu     sync.Mutex
	signed map[uint64]string // responses, by the number after which they begin
}

func newFeed(kit *authkit.Kit) *feed {
	return &feed{
		kit: kit, instance: rand.Text(), life: int64(kit.RevocationLife() / time.Second),
		turn: make(chan struct{}, 1), known: make(map[record]int64), reads: readBurst,
	}
}

// current returns the state as of now, or as of the last read if there were too
// many reads.
func (f *feed) current(ctx context.Context) (*state, error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := time.Now()
	f.reads = min(readBurst, f.reads+max(0, now.Sub(f.counted).Seconds()))
	f.counted = now
	if f.reads < 1 {
		return f.state, f.err
	}
	f.reads--
	f.state, f.err = f.read(ctx, now)
	return f.state, f.err
}

// read reads the store and returns the new state.
func (f *feed) read(ctx context.Context, now time.Time) (*state, error) {
	var since time.Time
	minute := now.Unix() / 60
	if minute == f.minute {
		since = now.Add(-lookBack)
	}
	revoked, err := f.kit.Revocations(ctx, since)
	if err != nil {
		return nil, err
	}
	for _, r := range revoked {
		f.add(recordOf(r))
	}
	if minute != f.minute {
		f.sweep(minute * 60)
		f.minute = minute
	}
	return &state{feed: f, until: now, tag: f.tag(), log: f.log, last: f.last, signed: make(map[uint64]string)}, nil
}

// recordOf returns the entry of a revocation. That of a user is dated with the
// end of the second, since tokens are dated in whole seconds.
func recordOf(r authkit.Revocation) record {
	at := r.At.Unix()
	if r.SessionID != "" {
		return record{key: digestOf("session", r.SessionID), at: at}
	}
	if r.At.Nanosecond() > 0 {
		at++
	}
	if email := r.Email(); email != "" {
		return record{key: digestOf("email", email), user: true, at: at}
	}
	return record{key: digestOf("user", r.UserID), user: true, at: at}
}

// add adds an entry if it is new or has a later time.
func (f *feed) add(r record) {
	id := record{key: r.key, user: r.user}
	if had, ok := f.known[id]; ok {
		if r.at <= had {
			return
		}
		f.count(id, had, false)
	}
	f.known[id] = r.at
	f.count(id, r.at, true)
	f.last++
	r.number = f.last
	f.log = append(f.log, r)
}

// sweep drops expired entries. The others keep their numbers.
func (f *feed) sweep(now int64) {
	for id, at := range f.known {
		if at+f.life < now {
			delete(f.known, id)
			f.count(id, at, false)
		}
	}
	kept := make([]record, 0, len(f.known))
	for _, r := range f.log {
		if f.known[record{key: r.key, user: r.user}] == r.at {
			kept = append(kept, r)
		}
	}
	f.log = kept // a new slice, because earlier states use the old one
}

// count adds the hash of an entry to the sum, or subtracts it.
func (f *feed) count(id record, at int64, in bool) {
	text := make([]byte, 0, 32)
	text = append(text, id.key[:]...)
	text = binary.BigEndian.AppendUint64(text, uint64(at))
	if id.user {
		text = append(text, 'u')
	}
	hash := sha256.Sum256(text)
	for i := range f.sum {
		n := binary.BigEndian.Uint64(hash[8*i:])
		if !in {
			n = -n
		}
		f.sum[i] += n
	}
}

// tag returns the ETag of the known entries. It is weak: every response and
// every instance with the same entries has the same tag.
func (f *feed) tag() string {
	text := binary.BigEndian.AppendUint64(nil, f.sum[0])
	text = binary.BigEndian.AppendUint64(text, f.sum[1])
	return `W/"` + base64.RawURLEncoding.EncodeToString(text) + `"`
}

// response returns the signed list of the entries that were found after a
// cursor. It is the whole list if the cursor is empty, unknown, or of another
// instance.
func (s *state) response(cursor string) (string, error) {
	after := uint64(0)
	if instance, number, ok := strings.Cut(cursor, "."); ok && instance == s.feed.instance {
		if n, err := strconv.ParseUint(number, 10, 64); err == nil && n <= s.last {
			after = n
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.signed) >= maxSigned {
		if _, ok := s.signed[after]; !ok {
			after = 0
		}
	}
	if signed, ok := s.signed[after]; ok {
		return signed, nil
	}
	payload, err := json.Marshal(s.list(after))
	if err != nil {
		return "", err
	}
	signed, err := s.feed.kit.KeyRing().Sign(listType, payload)
	if err != nil {
		return "", err
	}
	s.signed[after] = signed
	return signed, nil
}

// list returns the entries with a number greater than after.
func (s *state) list(after uint64) list {
	sessions, users := make(entries), make(entries)
	first, _ := slices.BinarySearchFunc(s.log, after+1, func(r record, n uint64) int { return cmp.Compare(r.number, n) })
	for _, r := range s.log[first:] {
		if r.user {
			users.add(r.key, r.at)
		} else {
			sessions.add(r.key, r.at)
		}
	}
	l := list{
		Next: s.cursor(s.last), Until: s.until.Unix(), Life: s.feed.life,
		Sessions: sessions.encode(), Users: users.encode(),
	}
	if after > 0 {
		l.After = s.cursor(after)
	}
	return l
}

func (s *state) cursor(n uint64) string { return s.feed.instance + "." + strconv.FormatUint(n, 10) }
