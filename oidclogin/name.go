package oidclogin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/seal"
)

// Apple sends the name of a user once, with the first POST to the callback, and
// unsigned. It waits in a ticket until the GET form of the callback comes, and
// is encrypted with a key that only the URL of that form has.

const ticketName = "oidclogin_name"

// putName stores the name in the field "user" of a POST, and returns the token
// for it. It returns "" if there is none.
func (l *Logins) putName(ctx context.Context, text string) (token string, err error) {
	var user struct {
		Name struct {
			First string `json:"firstName"`
			Last  string `json:"lastName"`
		} `json:"name"`
	}
	if json.Unmarshal([]byte(text), &user) != nil {
		return "", nil
	}
	name := displayName(strings.TrimSpace(user.Name.First + " " + user.Name.Last))
	if name == "" {
		return "", nil
	}
	t, token := authkit.NewTicket(ticketName, "", flowLife)
	box, err := seal.New(ticketName, []byte(token))
	if err != nil {
		return "", err
	}
	t.Body = box.Seal([]byte(name), []byte(t.ID))
	if err := l.putTicket(ctx, t); err != nil {
		return "", err
	}
	return token, nil
}

// postedName returns the name for a token, or "". A missing name does not fail
// the login.
func (l *Logins) postedName(ctx context.Context, token string) string {
	if token == "" {
		return ""
	}
	t, err := authkit.RedeemTicket(ctx, l.kit.Tickets(), ticketName, token)
	if errors.Is(err, authkit.ErrUnavailable) {
		l.reportStore(ctx, err)
	}
	if err != nil {
		return ""
	}
	box, err := seal.New(ticketName, []byte(token))
	if err != nil {
		return ""
	}
	name, err := box.Open(t.Body, []byte(t.ID))
	if err != nil {
		return ""
	}
	return displayName(string(name))
}
