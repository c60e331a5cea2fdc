package apikey

import "time"

// Uses are the last uses that wait, for tests.
type Uses struct{ u *uses }

func NewUses() Uses { return Uses{newUses()} }

func (u Uses) Note(id string, at time.Time)   { u.u.note(&Key{ID: id}, at) }
func (u Uses) Take() map[string]time.Time     { return u.u.take() }
func (u Uses) PutBack(m map[string]time.Time) { u.u.putBack(m) }
