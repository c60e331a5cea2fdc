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

// A guard checks a request once, when it comes in. Kit.Watch checks a stream
// again and again: it ends with its session, after a logout, a change of the
// password, or the end of the account.

// sessionEnded reports whether a stream ended since its session did. If a store
// fails, the stream ends too, and the browser connects again.
func sessionEnded(ctx context.Context) bool {
	err := context.Cause(ctx)
	return errors.Is(err, authkit.ErrInvalidToken) || errors.Is(err, authkit.ErrUserDisabled)
}

// events sends the time as server-sent events.
func (s *site) events(w http.ResponseWriter, r *http.Request) {
	ctx, stop := s.kit.Watch(r.Context(), authkit.Authenticated(), s.every)
	defer stop()
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	send := func(text string) error {
		// The server limits how long a response takes. A stream has that time
		// for each event.
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
		case <-ctx.Done():
			if sessionEnded(ctx) {
				_ = send("event: ended\ndata: The session has ended.")
			}
			return
		case <-tick.C:
		}
	}
}

// echo sends every message of a WebSocket back. The guard has refused other
// origins before; Accept does so again.
func (s *site) echo(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(4 << 10)
	ctx, stop := s.kit.Watch(r.Context(), authkit.Authenticated(), s.every)
	defer stop()
	defer context.AfterFunc(ctx, func() {
		status, reason := websocket.StatusTryAgainLater, ""
		if sessionEnded(ctx) {
			status, reason = websocket.StatusPolicyViolation, "The session has ended."
		}
		_ = conn.Close(status, reason)
	})()
	for {
		kind, message, err := conn.Read(context.WithoutCancel(ctx)) // the close above ends it, with its reason
		if err != nil {
			return
		}
		if err := conn.Write(ctx, kind, message); err != nil {
			return
		}
	}
}
