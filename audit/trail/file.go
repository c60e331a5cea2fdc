package trail

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/authkit-go/authkit/audit"
)

// A FileStore is an [audit.Store] in a file with one JSON entry per line. Only
// one process may write to a file. Others can read it, and verify it with
// [ReadEntries].
//
// An append is on the disk when it returns (fsync). If a process was killed
// while it wrote a line, the next Open removes the incomplete line, and the
// chain continues behind the last complete one.
//
// A file that was replaced is opened again. To rotate a file, keep its last
// line, or the [audit.Head], for the next Verify, and let no two programs
// write.
//
// Reading the newest entries is fast. A query that has to read the whole file,
// such as one for a user without entries, takes about a second for 100,000
// entries.
type FileStore struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int64    // of the complete lines
	last uint64   // Seq of the last entry
	buf  []byte   // for an append
	hint position // the end of the last page
}

// A position is the offset in the file behind the entry with the Seq.
type position struct {
	seq uint64
	at  int64
}

// Open opens the log in a file. If the file does not exist, Open creates one
// that only its owner can read. It returns an error if the last complete line
// is not an entry.
func Open(path string) (*FileStore, error) {
	f := &FileStore{path: path}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *FileStore) open() (err error) {
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("trail: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("trail: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("trail: %s is not a regular file", f.path)
	}
	last, size := uint64(0), int64(0)
	for line, end := range linesBackward(file, info.Size()) {
		e, err := parseLine(line)
		if err != nil {
			return fmt.Errorf("trail: the last line of %s: %w; verify the file and put it away", f.path, err)
		}
		last, size = e.Seq, end
		break
	}
	if size < info.Size() {
		if err := file.Truncate(size); err != nil {
			return fmt.Errorf("trail: %w", err)
		}
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("trail: %w", err)
	}
	syncDir(f.path)
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file, f.last, f.size, f.hint = file, last, size, position{}
	return nil
}

// syncDir makes a new name in a directory survive a crash, if the system
// supports it.
func syncDir(path string) {
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
}

// Close closes the file. Do not use the store afterwards.
func (f *FileStore) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}

// current opens the file again if its size or identity has changed.
func (f *FileStore) current() error {
	mine, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("trail: %w", err)
	}
	if there, err := os.Stat(f.path); err == nil && os.SameFile(mine, there) && there.Size() == f.size {
		return nil
	}
	return f.open()
}

// AppendAudit implements [audit.Store].
func (f *FileStore) AppendAudit(ctx context.Context, entries []audit.Entry) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil || len(entries) == 0 {
		return err
	}
	if err := f.current(); err != nil {
		return err
	}
	if f.last >= entries[0].Seq {
		return audit.ErrConflict
	}
	f.buf = f.buf[:0]
	for i := range entries {
		if f.buf, err = appendLine(f.buf, &entries[i]); err != nil {
			return err
		}
	}
	if _, err = f.file.Write(f.buf); err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		// If this fails too, the size of the file is wrong, and the next call
		// opens it again.
		_ = f.file.Truncate(f.size)
		return fmt.Errorf("trail: %w", err)
	}
	f.size += int64(len(f.buf))
	f.last = entries[len(entries)-1].Seq
	return nil
}

// AuditEntries implements [audit.Store]. It skips lines that are not entries.
func (f *FileStore) AuditEntries(ctx context.Context, q audit.Query) (found []audit.Entry, err error) {
	if q.Limit <= 0 {
		return nil, ctx.Err()
	}
	f.mu.Lock()
	size, start := f.size, int64(0)
	if f.hint.seq == q.After {
		start = f.hint.at
	}
	file, err := os.Open(f.path) // this file stays complete even if EraseAudit replaces it
	f.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("trail: %w", err)
	}
	defer func() { _ = file.Close() }()
	take := func(line []byte) (more bool) {
		e, err := parseLine(line)
		if err == nil && q.Newest && e.Seq <= q.After {
			return false
		}
		if err == nil && q.Matches(&e) {
			found = append(found, e)
		}
		return len(found) < q.Limit && ctx.Err() == nil
	}
	if q.Newest {
		for line := range linesBackward(file, size) {
			if !take(line) {
				break
			}
		}
		return found, ctx.Err()
	}
	at, hint := start, position{}
	for line, err := range lines(io.NewSectionReader(file, start, size-start)) {
		if err != nil {
			return nil, fmt.Errorf("trail: %w", err)
		}
		at += int64(len(line)) + 1
		before := len(found)
		more := take(line)
		if len(found) > before {
			hint = position{found[before].Seq, at}
		}
		if !more {
			break
		}
	}
	f.mu.Lock()
	f.hint = hint
	f.mu.Unlock()
	return found, ctx.Err()
}

// EraseAudit implements [audit.Store]. It writes a new file next to the old one
// and renames it. Appends wait.
func (f *FileStore) EraseAudit(ctx context.Context, userID string) (parts int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.current(); err != nil {
		return 0, err
	}
	next, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*") // with mode 0600
	if err != nil {
		return 0, fmt.Errorf("trail: %w", err)
	}
	defer func() { _ = os.Remove(next.Name()) }()
	defer func() { _ = next.Close() }()
	parts, err = rewrite(ctx, next, io.NewSectionReader(f.file, 0, f.size), userID)
	if err != nil || parts == 0 {
		return 0, err
	}
	if err = next.Sync(); err == nil {
		err = next.Close()
	}
	if err == nil {
		err = os.Rename(next.Name(), f.path)
	}
	if err != nil {
		return 0, fmt.Errorf("trail: %w", err)
	}
	return parts, f.open()
}

// rewrite copies lines without the personal data of a user. A line that is not
// an entry is copied unchanged, as evidence.
func rewrite(ctx context.Context, w io.Writer, r io.Reader, userID string) (parts int, err error) {
	out := bufio.NewWriterSize(w, blockSize)
	var buf []byte
	for line, err := range lines(r) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, fmt.Errorf("trail: %w", err)
		}
		buf = append(append(buf[:0], line...), '\n')
		if e, err := parseLine(line); err == nil {
			if n := e.Erase(userID); n > 0 {
				parts += n
				if buf, err = appendLine(buf[:0], &e); err != nil {
					return 0, err
				}
			}
		}
		if _, err := out.Write(buf); err != nil {
			return 0, fmt.Errorf("trail: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return 0, fmt.Errorf("trail: %w", err)
	}
	return parts, nil
}
