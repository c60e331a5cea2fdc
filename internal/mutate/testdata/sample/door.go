// Package sample is a program that the tests of mutate change.
package sample

import (
	"errors"
	"time"
)

const maxTries = 3

const forget = time.Hour

// ErrRefused is returned by Door.Open.
var ErrRefused = errors.New("refused")

// A Door counts who opens it.
type Door struct {
	Tries  int
	Locked bool
	Log    []string
	Since  time.Time
}

// Open refuses the wrong key, and any key after too many.
func (d *Door) Open(key string) error {
	if d.Tries >= maxTries || d.Locked {
		return ErrRefused
	}
	if key != "right" {
		d.Tries++
		d.note("wrong")
		return ErrRefused
	}
	d.Tries = 0
	d.note("opened")
	return nil
}

func (d *Door) note(what string) { d.Log = append(d.Log, what) }

// Fresh reports whether the door has forgotten nothing.
func (d *Door) Fresh(now time.Time) bool {
	return now.Sub(d.Since) < forget && !d.Locked
}

// Never is a function that no test calls.
func Never(d *Door) { d.Locked = true }

const table = " FROM doors WHERE tenant = ? AND id = ?"

// Query returns a statement.
func Query(also string) string { return "SELECT id" + table + also + " OR tenant = ? AND tenant = ?" }
