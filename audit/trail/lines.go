package trail

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/authkit-go/authkit/audit"
)

const (
	maxLine   = 64 << 10 // bytes; the longest entry has about a tenth of that
	blockSize = 64 << 10
)

var (
	// ErrMalformed is what [ReadEntries] yields for a line that is not as a log writes it.
	ErrMalformed = errors.New("trail: not an entry")

	// ErrTorn is what [ReadEntries] yields at the end if the last line has none: a program
	// that was killed has left it, or one is writing it. It is no entry.
	ErrTorn = errors.New("trail: the last line is not whole")
)

// ReadEntries yields the entries of a file of a [FileStore], for [Verify]: ErrMalformed for
// each line that is none, ErrTorn for a last line without an end, and the error of the reader,
// which is the last.
func ReadEntries(r io.Reader) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for line, err := range lines(r) {
			var e audit.Entry
			if err == nil {
				e, err = parseLine(line)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// appendLine appends the entry as a line of JSON.
func appendLine(b []byte, e *audit.Entry) ([]byte, error) {
	line, err := json.Marshal(e)
	if err != nil { // a year beyond 9999
		return b, fmt.Errorf("trail: entry %d: %w", e.Seq, err)
	}
	return append(append(b, line...), '\n'), nil
}

// parseLine reads what appendLine wrote, without the end of the line. An entry has one
// spelling: a line that says a thing twice, so that people and programs read it in two ways,
// is none.
func parseLine(line []byte) (audit.Entry, error) {
	var e audit.Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return audit.Entry{}, ErrMalformed
	}
	again, err := json.Marshal(&e)
	if err != nil || !bytes.Equal(again, line) || e.Time != e.Time.UTC().Truncate(time.Microsecond) {
		return audit.Entry{}, ErrMalformed
	}
	return e, nil
}

// lines yields the lines of a text without their ends. One that is too long is cut; what it
// was cut to is not an entry. The last one comes with ErrTorn if it has no end.
func lines(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		in := bufio.NewReaderSize(r, maxLine)
		for {
			line, err := in.ReadSlice('\n')
			for err == bufio.ErrBufferFull {
				line, err = in.ReadSlice('\n')
			}
			switch {
			case err == nil:
				if !yield(line[:len(line)-1], nil) {
					return
				}
				continue
			case err == io.EOF && len(line) > 0:
				yield(line, ErrTorn)
			case err != io.EOF:
				yield(nil, err)
			}
			return
		}
	}
}

// linesBackward yields the whole lines of a text of that size, the last one first, and where
// each ends. It stops where it cannot read.
func linesBackward(r io.ReaderAt, size int64) iter.Seq2[[]byte, int64] {
	return func(yield func([]byte, int64) bool) {
		var have []byte // from at on
		at, whole := size, false
		for {
			if i := bytes.LastIndexByte(have, '\n'); i >= 0 {
				line, end := have[i+1:], at+int64(len(have))+1
				have = have[:i]
				if whole && !yield(line, end) {
					return
				}
				whole = true
				continue
			}
			if at == 0 {
				if whole {
					yield(have, int64(len(have))+1)
				}
				return
			}
			n := min(at, blockSize)
			at -= n
			block := make([]byte, n)
			if _, err := r.ReadAt(block, at); err != nil {
				return
			}
			have = slices.Concat(block, have)
		}
	}
}
