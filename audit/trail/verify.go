// Package trail keeps an audit log in a file, and verifies one, wherever it was kept.
//
// A file of a [FileStore] has an entry in JSON to a line:
//
//	file, err := os.Open("/var/lib/service/audit.jsonl")
//	report, err := trail.Verify(trail.ReadEntries(file), key, heads...)
//
// A table is verified with [audit.All] in place of ReadEntries.
package trail

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"iter"

	"github.com/authkit-go/authkit/audit"
)

// The kinds of faults.
const (
	FaultMalformed = "malformed"    // the line is not an entry, or not as a log writes one
	FaultAltered   = "altered"      // the entry is not the one that was written
	FaultMissing   = "missing"      // entries before this one are gone; this one cannot be checked
	FaultOrder     = "out of order" // the entry is in the wrong place, or there twice
	FaultReplaced  = "replaced"     // the entry has another MAC than a head that was kept
	FaultTruncated = "truncated"    // the log ends before a head that was kept
)

// A Fault is a place where a log is not as it was written.
type Fault struct {
	Position int    // of the entry, from 1: the number of the line in a file
	Seq      uint64 // of the entry; 0 where there is none to be read
	Kind     string // such as FaultAltered
}

// String returns the fault in words.
func (f Fault) String() string {
	if f.Seq == 0 {
		return fmt.Sprintf("position %d: %s", f.Position, f.Kind)
	}
	return fmt.Sprintf("position %d, entry %d: %s", f.Position, f.Seq, f.Kind)
}

// maxFaults is how many faults a report lists.
const maxFaults = 100

// A Report is what [Verify] found. Its numbers are those of an honest log only if there are no
// faults.
type Report struct {
	Entries int        // that could be read
	Head    audit.Head // of the log; keep it elsewhere, and give it to the next Verify
	Faults  []Fault    // the first 100, in order of position
	Lost    uint64     // events that the log says it lost
	Torn    bool       // the last line is not whole: the program was killed while it wrote, or is writing

	// Erased is how many parts of entries are erased, ErasedByLog how many the log says it
	// did. If that is fewer, somebody else did the rest, or the program was killed between
	// the one and the other.
	Erased, ErasedByLog uint64
}

// ErrBroken is returned by [Verify] for a log that is not as it was written.
var ErrBroken = errors.New("trail: the log is not as it was written")

// Verify reads a log from [ReadEntries] or [audit.All] and checks it with the key it was
// written with. The error is ErrBroken if there is a fault, with the first one in its text, or
// else what the reader yields. Either way the report says how far it came.
//
// Heads are what was kept of the log elsewhere. Without one it cannot be seen that entries
// were cut off at the end. A log of which the oldest entries were put away is verified with
// the head that those had.
func Verify(entries iter.Seq2[audit.Entry, error], key []byte, heads ...audit.Head) (Report, error) {
	v := verifier{chain: audit.NewChain(key), heads: map[uint64][32]byte{0: {}}}
	for _, h := range heads {
		if mac, twice := v.heads[h.Seq]; twice && mac != h.MAC {
			return Report{}, fmt.Errorf("trail: two heads of the entry %d", h.Seq)
		}
		v.heads[h.Seq] = h.MAC
	}
	position, newest := 0, uint64(0)
	for e, err := range entries {
		position++
		switch {
		case err == nil:
			v.entry(position, &e)
			newest = max(newest, e.Seq)
		case errors.Is(err, ErrTorn):
			v.report.Torn = true
		case errors.Is(err, ErrMalformed):
			v.fault(position, 0, FaultMalformed)
		default:
			return v.report, err
		}
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
	chain  *audit.Chain
	heads  map[uint64][32]byte // that of the empty log among them
	report Report
}

func (v *verifier) fault(position int, seq uint64, kind string) {
	if len(v.report.Faults) < maxFaults {
		v.report.Faults = append(v.report.Faults, Fault{position, seq, kind})
	}
}

// entry checks the next entry. What follows a fault is checked against what is there.
func (v *verifier) entry(position int, e *audit.Entry) {
	last, follows := v.report.Head, e.Seq == v.report.Head.Seq+1
	if v.report.Entries == 0 {
		last.MAC, follows = v.heads[e.Seq-1]
	}
	erased, personal := v.chain.Personal(e)
	switch {
	case follows && !v.chain.Follows(last, e), !personal:
		v.fault(position, e.Seq, FaultAltered)
	case follows:
	case v.report.Entries > 0 && e.Seq <= last.Seq:
		v.fault(position, e.Seq, FaultOrder)
	default:
		v.fault(position, e.Seq, FaultMissing)
	}
	head := e.Head()
	if mac, kept := v.heads[e.Seq]; kept && !hmac.Equal(mac[:], head.MAC[:]) {
		v.fault(position, e.Seq, FaultReplaced)
	}
	v.report.Entries++
	v.report.Head = head
	v.report.Erased += uint64(erased)
	switch e.Kind {
	case audit.KindLost:
		v.report.Lost += e.Count
	case audit.KindErased:
		v.report.ErasedByLog += e.Count
	}
}
