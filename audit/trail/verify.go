// Package trail stores an audit log in a file, and verifies logs of every
// store.
//
// A file of a [FileStore] has one JSON entry per line:
//
//	file, err := os.Open("/var/lib/service/audit.jsonl")
//	report, err := trail.Verify(trail.ReadEntries(file), key, heads...)
//
// To verify a table, use [audit.All] in place of ReadEntries.
package trail

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"iter"

	"github.com/authkit-go/authkit/audit"
)

// The kinds of a [Problem].
const (
	ProblemMalformed = "malformed"    // the line is not an entry in the form that a log writes
	ProblemAltered   = "altered"      // the entry was changed
	ProblemMissing   = "missing"      // entries before this one are missing; this one cannot be checked
	ProblemOrder     = "out of order" // the entry is in the wrong place, or a duplicate
	ProblemReplaced  = "replaced"     // the MAC of the entry differs from that of a given head
	ProblemTruncated = "truncated"    // the log ends before a given head
)

// A Problem is a place where a log was tampered with or damaged.
type Problem struct {
	Position int    // of the entry, from 1; in a file, the line number
	Seq      uint64 // of the entry; 0 if it cannot be read
	Kind     string // such as ProblemAltered
}

// String returns a description of the fault.
func (f Problem) String() string {
	if f.Seq == 0 {
		return fmt.Sprintf("position %d: %s", f.Position, f.Kind)
	}
	return fmt.Sprintf("position %d, entry %d: %s", f.Position, f.Seq, f.Kind)
}

// maxProblems is the maximum number of faults in a report.
const maxProblems = 100

// A Report is the result of [Verify]. Trust its numbers only if it has no
// faults.
type Report struct {
	Entries  int        // the number of entries that could be read
	Head     audit.Head // of the log; keep it elsewhere, and pass it to the next Verify
	Problems []Problem  // the first 100, in order of position
	Lost     uint64     // the number of events that the log reports as lost
	Torn     bool       // whether the last line is incomplete: a program was killed while it wrote, or is writing

	// Erased is the number of erased parts of entries. ErasedByLog is the
	// number that the log reports. If it is smaller, another party erased the
	// rest, or the program was killed before it wrote the report.
	Erased, ErasedByLog uint64
}

// ErrBroken is returned by [Verify] for a log that was tampered with or
// damaged.
var ErrBroken = errors.New("trail: the log is not as it was written")

// Verify reads a log from [ReadEntries] or [audit.All] and checks it with its
// key. The report covers the entries up to the error.
//
// Pass heads of the log that were kept elsewhere. Without one, Verify cannot
// detect that entries were cut off at the end. To verify a log whose oldest
// entries were removed, pass the head of those.
//
// The errors are:
//   - ErrBroken, with the first fault in its text, if there is a fault,
//   - the error of the entries,
//   - an error if two heads of one entry differ.
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
			v.fault(position, 0, ProblemMalformed)
		default:
			return v.report, err
		}
	}
	for seq := range v.heads {
		if seq > newest {
			v.fault(position+1, 0, ProblemTruncated)
			break
		}
	}
	if len(v.report.Problems) > 0 {
		return v.report, fmt.Errorf("%w: %v", ErrBroken, v.report.Problems[0])
	}
	return v.report, nil
}

type verifier struct {
	chain  *audit.Chain
	heads  map[uint64][32]byte // includes the head of the empty log
	report Report
}

func (v *verifier) fault(position int, seq uint64, kind string) {
	if len(v.report.Problems) < maxProblems {
		v.report.Problems = append(v.report.Problems, Problem{position, seq, kind})
	}
}

// entry checks the next entry. After a fault, it checks against the entries as
// they are.
func (v *verifier) entry(position int, e *audit.Entry) {
	last, follows := v.report.Head, e.Seq == v.report.Head.Seq+1
	if v.report.Entries == 0 {
		last.MAC, follows = v.heads[e.Seq-1]
	}
	erased, personal := v.chain.Personal(e)
	switch {
	case follows && !v.chain.Follows(last, e), !personal:
		v.fault(position, e.Seq, ProblemAltered)
	case follows:
	case v.report.Entries > 0 && e.Seq <= last.Seq:
		v.fault(position, e.Seq, ProblemOrder)
	default:
		v.fault(position, e.Seq, ProblemMissing)
	}
	head := e.Head()
	if mac, kept := v.heads[e.Seq]; kept && !hmac.Equal(mac[:], head.MAC[:]) {
		v.fault(position, e.Seq, ProblemReplaced)
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
