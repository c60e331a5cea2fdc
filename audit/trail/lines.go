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
	maxLine   = 64 << 10 // bytes; about ten times the longest entry
	blockSize = 64 << 10
)

var (
	// ErrMalformed is yielded by [ReadEntries] for a line that is not an entry.
	ErrMalformed = errors.New("trail: not an entry")

	// ErrTorn is yielded by [ReadEntries] at the end if the last line is
	// incomplete: a killed program has left it, or a program is writing it.
	ErrTorn = errors.New("trail: the last line is not whole")
)

// ReadEntries yields the entries of a file of a [FileStore], for [Verify].
//
// The errors are:
//   - ErrMalformed for each line that is not an entry,
//   - ErrTorn if the last line is incomplete,
//   - the error of the reader, after which it stops.
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
	if err != nil { // for a year after 9999
		return b, fmt.Errorf("trail: entry %d: %w", e.Seq, err)
	}
	return append(append(b, line...), '\n'), nil
}

// parseLine parses a line of appendLine, without the line end. An entry has one
// encoding. A line with a duplicate member is refused, because different
// readers would interpret it differently.
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

// lines yields the lines of a text without their ends. A line that is too long
// is truncated, so that it is not an entry. An incomplete last line comes with
// ErrTorn.
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

// linesBackward yields the complete lines of the first size bytes, the last one
// first, and the offset behind each. It stops at an error.
func linesBackward(r io.ReaderAt, size int64) iter.Seq2[[]byte, int64] {
	return func(yield func([]byte, int64) bool) {
		var have []byte // the bytes from offset at on
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
