package trail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/trail"
)

// Somebody changes a line of the log, and somebody else cuts it off.
func Example() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "audit.jsonl")
	store, err := trail.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	key := []byte("a key of 32 random bytes, or more")
	auditLog, err := audit.New(store, audit.Options{Key: key})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	for _, user := range []string{"alice", "bob", "carol"} {
		auditLog.OnEvent(ctx, authkit.Event{Kind: authkit.EventLoginFailure, UserID: user, Reason: authkit.ReasonWrongPassword})
	}
	if err := auditLog.Flush(ctx); err != nil {
		log.Fatal(err)
	}

	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	report, err := trail.Verify(trail.ReadEntries(bytes.NewReader(text)), key)
	fmt.Println("untouched:", report.Entries, err)
	head := report.Head // keep it where those who can write the file cannot

	changed := bytes.Replace(text, []byte("wrong_password"), []byte("canceled"), 1)
	report, err = trail.Verify(trail.ReadEntries(bytes.NewReader(changed)), key, head)
	fmt.Println("changed:", report.Problems, errors.Is(err, trail.ErrBroken))

	short := text[:bytes.IndexByte(text, '\n')+1]
	report, err = trail.Verify(trail.ReadEntries(bytes.NewReader(short)), key, head)
	fmt.Println("cut off:", report.Problems, errors.Is(err, trail.ErrBroken))
	// Output:
	// untouched: 3 <nil>
	// changed: [position 1, entry 1: altered] true
	// cut off: [position 2: truncated] true
}
