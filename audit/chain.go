package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"iter"
	"strconv"
	"strings"
)

const saltLen = 16

// A Head says how far a log has come. Whoever has kept it can tell that nothing up to it was
// altered, or cut off, since. Its text is the sequence number, a colon, and the MAC in
// base64url.
type Head struct {
	Seq uint64   // of the last entry; 0: there is none
	MAC [32]byte // of the last entry
}

// String returns the text of the head.
func (h Head) String() string {
	return strconv.FormatUint(h.Seq, 10) + ":" + base64.RawURLEncoding.EncodeToString(h.MAC[:])
}

// MarshalText returns what String does.
func (h Head) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what String returns.
func (h *Head) UnmarshalText(text []byte) error {
	seq, mac, _ := strings.Cut(string(text), ":")
	n, err := strconv.ParseUint(seq, 10, 64)
	b, err2 := base64.RawURLEncoding.Strict().DecodeString(mac)
	if err != nil || err2 != nil || len(b) != len(h.MAC) {
		return errors.New("audit: a head is a number, a colon, and 43 letters of base64url")
	}
	*h = Head{Seq: n, MAC: [32]byte(b)}
	return nil
}

// A chain computes MACs. It is for one goroutine.
type chain struct {
	mac hash.Hash
	buf []byte
}

func newChain(key []byte) *chain { return &chain{mac: hmac.New(sha256.New, key)} }

// sum returns the MAC of an entry behind the one with the MAC prev.
func (c *chain) sum(prev [32]byte, e *Entry) []byte {
	b := append(c.buf[:0], "authkit audit 1\x00"...)
	b = append(b, prev[:]...)
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixMicro()))
	b = binary.BigEndian.AppendUint64(b, e.Count)
	b = appendTexts(b, string(e.Kind), e.Outcome, string(e.Reason), e.Route, string(e.ClientHash), string(e.TargetHash))
	c.buf = b
	c.mac.Reset()
	c.mac.Write(b)
	return c.mac.Sum(nil)
}

// link puts entries into the chain behind a head.
func (c *chain) link(h Head, entries []Entry) {
	salts := make([]byte, 2*saltLen*len(entries))
	_, _ = rand.Read(salts) // never fails
	for i := range entries {
		e := &entries[i]
		e.ClientSalt, salts = salts[:saltLen:saltLen], salts[saltLen:]
		e.TargetSalt, salts = salts[:saltLen:saltLen], salts[saltLen:]
		e.Seq, e.ClientHash, e.TargetHash = h.Seq+1, c.clientHash(e), c.targetHash(e)
		e.MAC = c.sum(h.MAC, e)
		h = e.Head()
	}
}

func (c *chain) clientHash(e *Entry) []byte {
	return c.digest("client", string(e.ClientSalt), e.ActorID, e.SessionID, e.Address, e.Agent, e.RequestID)
}

func (c *chain) targetHash(e *Entry) []byte {
	return c.digest("target", string(e.TargetSalt), e.TargetID)
}

func (c *chain) digest(texts ...string) []byte {
	c.buf = appendTexts(append(c.buf[:0], "authkit audit personal 1\x00"...), texts...)
	sum := sha256.Sum256(c.buf)
	return sum[:]
}

// appendTexts appends texts with their lengths, so that no two lists are written alike.
func appendTexts(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

// personal reports whether the personal data of an entry are those it was written with, or
// erased, and how many parts are.
func (c *chain) personal(e *Entry) (erased int, ok bool) {
	part := func(salt, want []byte, texts string, digest func(*Entry) []byte) bool {
		if len(salt) == 0 {
			erased++
			return texts == ""
		}
		return len(salt) == saltLen && bytes.Equal(want, digest(e))
	}
	client := part(e.ClientSalt, e.ClientHash, e.ActorID+e.SessionID+e.Address+e.Agent+e.RequestID, c.clientHash)
	target := part(e.TargetSalt, e.TargetHash, e.TargetID, c.targetHash)
	return erased, client && target
}

// The kinds of faults.
const (
	FaultMalformed = "malformed"    // the line is not an entry, or not as a log writes one
	FaultAltered   = "altered"      // the entry is not the one that was written
	FaultMissing   = "missing"      // entries before this one are gone; this one could not be checked
	FaultOrder     = "out of order" // the entry is in the wrong place, or there twice
	FaultReplaced  = "replaced"     // the entry has another MAC than a head that was kept
	FaultTruncated = "truncated"    // the log ends before a head that was kept
)

// A Fault is one place where a log is not as it was written.
type Fault struct {
	Position int    // of the entry, from 1: the number of the line in a file
	Seq      uint64 // of the entry; 0 where there is none to be read
	Kind     string // such as FaultAltered
}

// String returns the fault in words.
func (f Fault) String() string {
	return fmt.Sprintf("position %d (entry %d): %s", f.Position, f.Seq, f.Kind)
}

// maxFaults is how many faults a report lists.
const maxFaults = 100

// A Report is what [Verify] found.
type Report struct {
	Entries int     // read
	Head    Head    // of the log; keep it elsewhere, and give it to the next Verify
	Faults  []Fault // the first 100, in order of position
	Lost    uint64  // events that the log says it lost
	Torn    bool    // the last line is not whole: the program was killed while it wrote

	// Erased is how many parts of entries are erased, and ErasedByLog how many the log says
	// it did. If it did fewer, somebody else erased the rest.
	Erased, ErasedByLog uint64
}

// ErrBroken is returned by [Verify] for a log that is not as it was written.
var ErrBroken = errors.New("audit: the log is not as it was written")

// Verify reads a log from [ReadEntries] or [All] and checks it with the key it was written
// with. The error is ErrBroken if there is a fault, and says what the first one is, or that
// of the reader; the report is as far as it came, either way.
//
// Heads are what was kept of the log elsewhere. Without one it cannot be seen that entries
// were cut off at the end. A log whose oldest entries were deleted is verified with the head
// that they had.
func Verify(entries iter.Seq2[Entry, error], key []byte, heads ...Head) (Report, error) {
	v := verifier{chain: newChain(key), heads: map[uint64][32]byte{0: {}}}
	for _, h := range heads {
		if mac, twice := v.heads[h.Seq]; twice && mac != h.MAC {
			return Report{}, fmt.Errorf("audit: two heads of entry %d", h.Seq)
		}
		v.heads[h.Seq] = h.MAC
	}
	position, newest := 0, uint64(0)
	for e, err := range entries {
		switch {
		case errors.Is(err, ErrTorn):
			v.report.Torn = true
			continue
		case err != nil && !errors.Is(err, ErrMalformed):
			return v.report, err
		}
		position++
		if err != nil {
			v.fault(position, 0, FaultMalformed)
			continue
		}
		v.entry(position, &e)
		newest = max(newest, e.Seq)
	}
	for seq := range v.heads {
		if seq > newest {
			v.fault(position+1, 0, FaultTruncated)
			break
		}
	}
	if len(v.report.Faults) > 0 {
		return v.report, fmt.Errorf("%w: %v", ErrBroken, v.report.Faults[0])
	}
	return v.report, nil
}

type verifier struct {
	*chain
	heads  map[uint64][32]byte // the one of an empty log among them
	report Report
}

func (v *verifier) fault(position int, seq uint64, kind string) {
	if len(v.report.Faults) < maxFaults {
		v.report.Faults = append(v.report.Faults, Fault{position, seq, kind})
	}
}

// entry checks the next entry. What follows a fault is checked against what is there.
func (v *verifier) entry(position int, e *Entry) {
	last := v.report.Head
	prev, known := last.MAC, e.Seq == last.Seq+1
	if v.report.Entries == 0 {
		prev, known = v.heads[e.Seq-1], true
		if _, kept := v.heads[e.Seq-1]; !kept {
			known = false
		}
	}
	erased, personal := v.personal(e)
	switch mac := v.sum(prev, e); {
	case known && !hmac.Equal(mac, e.MAC), !personal:
		v.fault(position, e.Seq, FaultAltered)
	case known:
	case v.report.Entries > 0 && e.Seq <= last.Seq:
		v.fault(position, e.Seq, FaultOrder)
	default:
		v.fault(position, e.Seq, FaultMissing)
	}
	h := e.Head()
	if mac, kept := v.heads[e.Seq]; kept && mac != h.MAC {
		v.fault(position, e.Seq, FaultReplaced)
	}
	v.report.Entries++
	v.report.Head = h
	v.report.Erased += uint64(erased)
	switch e.Kind {
	case KindLost:
		v.report.Lost += e.Count
	case KindErased:
		v.report.ErasedByLog += e.Count
	}
}
