package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/authkit-go/authkit"
)

// A guard checks a request once, when it comes in. A stream lasts, so that it checks again and
// ends with its session: after a logout, a change of the password, or the end of the account.

// stillGood reports whether the session of a stream goes on. If a store fails, the stream ends
// too, and the browser connects again.
func (s *site) stillGood(r *http.Request) (good, ended bool) {
	_, _, err := s.kit.Identify(r)
	return err == nil, err != nil && !errors.Is(err, authkit.ErrUnavailable)
}

// events sends the time as server-sent events.
func (s *site) events(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	send := func(text string) error {
		// The server limits how long a response takes. A stream has that time for each event.
		err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Now().Add(s.every+10*time.Second)))
		if err == nil {
			_, err = fmt.Fprint(w, text, "\n\n")
		}
		return errors.Join(err, rc.Flush())
	}
	for n := 1; ; n++ {
		if err := send(fmt.Sprintf("data: event %d at %s", n, time.Now().Format(time.TimeOnly))); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
		if good, ended := s.stillGood(r); !good {
			if ended {
				_ = send("event: ended\ndata: The session has ended.")
			}
			return
		}
	}
}

// echo sends every message of a WebSocket back. The guard has refused other origins before;
// Accept does so again.
func (s *site) echo(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(4 << 10)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go s.closeAtEnd(ctx, conn, r)
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if err := conn.Write(ctx, kind, message); err != nil {
			return
		}
	}
}

// closeAtEnd closes a WebSocket when its session has ended, and returns when ctx is done.
func (s *site) closeAtEnd(ctx context.Context, conn *websocket.Conn, r *http.Request) {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch good, ended := s.stillGood(r); {
		case ended:
			_ = conn.Close(websocket.StatusPolicyViolation, "The session has ended.")
			return
		case !good:
			_ = conn.Close(websocket.StatusTryAgainLater, "")
			return
		}
	}
}
