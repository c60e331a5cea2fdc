package sample

import (
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	d := &Door{}
	for range maxTries {
		if d.Open("wrong") != ErrRefused {
			t.Fatal("a wrong key opens")
		}
	}
	if d.Open("right") != ErrRefused {
		t.Fatal("there is no limit")
	}
	if (&Door{Locked: true}).Open("right") == nil {
		t.Fatal("a locked door opens")
	}
	again := &Door{Tries: maxTries - 1}
	if again.Open("right") != nil || again.Tries != 0 {
		t.Fatal("the right key")
	}
}

func TestFresh(t *testing.T) {
	now := time.Now()
	d := &Door{Since: now}
	if !d.Fresh(now) || d.Fresh(now.Add(time.Hour+time.Minute)) {
		t.Fatal("fresh")
	}
}

func TestHalves(t *testing.T) {
	if Halves(4) != 3 {
		t.Fatal("halves")
	}
}

func TestQuery(t *testing.T) {
	if got := Query("!"); got != "SELECT id FROM doors WHERE tenant = ? AND id = ?! OR tenant = ? AND tenant = ?" {
		t.Fatal(got)
	}
}
