package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/authkit-go/authkit/account"
	"github.com/stretchr/testify/require"
)

// A mailbox is a Mailer that keeps mails for a test.
type mailbox struct{ mails chan account.Message }

func (m mailbox) Send(_ context.Context, mail account.Message) error {
	m.mails <- mail
	return nil
}

var (
	mailToken = regexp.MustCompile(`http://127\.0\.0\.1:8000(/auth/[a-z]+)\?token=(\S+)`)
	mailCode  = regexp.MustCompile(`\b\d{6}\b`)
)

// link returns the page and the token of the next mail, which must go to an address.
func (m mailbox) link(t *testing.T, to string) (page, token string) {
	t.Helper()
	mail := <-m.mails
	require.Equal(t, to, mail.To)
	found := mailToken.FindStringSubmatch(mail.Text)
	require.NotNil(t, found, mail.Text)
	return found[1], found[2]
}

// TestWireAccounts walks through everything that a user can do with an account, over HTTP.
func TestWireAccounts(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	box := mailbox{make(chan account.Message, 10)}
	cfg.mailer = box
	base := start(t, cfg)
	document := readContract(t, base)
	post := func(path, token string, body map[string]string) answer {
		t.Helper()
		text, err := json.Marshal(body)
		require.NoError(t, err)
		a, err := send(base, call{method: "POST", path: path, token: token, contentType: "application/json", body: string(text)})
		require.NoError(t, err)
		document.check(t, a)
		return a
	}
	login := func(email, password string) answer {
		t.Helper()
		form := url.Values{"username": {email}, "password": {password}}
		a, err := send(base, call{method: "POST", path: "/token", contentType: "application/x-www-form-urlencoded", body: form.Encode()})
		require.NoError(t, err)
		return a
	}

	// An address that has an account gets the same answer as one that has none.
	fresh, known := post("/auth/register", "", map[string]string{"email": "ann@example.org"}), post("/auth/register", "", map[string]string{"email": "user@example.com"})
	require.Equal(t, 202, fresh.status)
	require.Equal(t, fresh.status, known.status)
	require.Equal(t, fresh.body, known.body)
	links := map[string]string{}
	for range 2 {
		mail := <-box.mails
		links[mail.To] = mail.Text
	}
	require.Contains(t, links["user@example.com"], "choose a new password") // the address was never verified
	token := mailToken.FindStringSubmatch(links["ann@example.org"])[2]

	// A link is a page that changes nothing. The form, or JSON, creates the account.
	a, err := send(base, call{method: "GET", path: "/auth/signup?token=" + token, header: http.Header{"Accept": {"text/html"}}})
	require.NoError(t, err)
	require.Equal(t, 200, a.status)
	require.Equal(t, "no-referrer", a.header.Get("Referrer-Policy"))
	require.Equal(t, 401, login("ann@example.org", "correct horse").status)
	require.Equal(t, 422, post("/auth/signup", "", map[string]string{"token": token, "password": "short"}).status)
	require.Equal(t, 422, post("/auth/signup", "", map[string]string{"token": token, "password": "correct horse", "roles": "admin"}).status)
	require.Equal(t, 201, post("/auth/signup", "", map[string]string{"token": token, "password": "correct horse", "full_name": "Ann"}).status)
	require.Equal(t, 400, post("/auth/signup", "", map[string]string{"token": token, "password": "correct horse"}).status)
	a = login("ann@example.org", "correct horse")
	require.Equal(t, 200, a.status)
	ann := a.object(t)["access_token"].(string)
	a, err = send(base, call{method: "GET", path: "/users/me", token: ann})
	require.NoError(t, err)
	require.Equal(t, []any{"user"}, a.object(t)["roles"])

	// A new password, known and forgotten.
	form := url.Values{"current_password": {"correct horse"}, "new_password": {"battery staple"}}
	a, err = send(base, call{method: "POST", path: "/users/me/password", token: ann, contentType: "application/x-www-form-urlencoded", body: form.Encode()})
	require.NoError(t, err)
	document.check(t, a)
	require.Equal(t, 204, a.status)
	require.Equal(t, 202, post("/auth/reset", "", map[string]string{"email": "ANN@example.org"}).status)
	page, token := box.link(t, "ann@example.org")
	require.Equal(t, "/auth/password", page)
	require.Equal(t, 204, post(page, "", map[string]string{"token": token, "password": "third password"}).status)
	require.Contains(t, (<-box.mails).Subject, "was changed")
	require.Equal(t, 401, login("ann@example.org", "battery staple").status)
	ann = login("ann@example.org", "third password").object(t)["access_token"].(string)

	// Another address, and back.
	require.Equal(t, 401, post("/auth/email", ann, map[string]string{"current_password": "wrong", "email": "new@example.org"}).status)
	require.Equal(t, 202, post("/auth/email", ann, map[string]string{"current_password": "third password", "email": "new@example.org"}).status)
	page, token = box.link(t, "new@example.org")
	require.Equal(t, "/auth/confirm", page)
	require.Equal(t, 401, post(page, "", map[string]string{"token": token}).status)
	require.Equal(t, 204, post(page, ann, map[string]string{"token": token}).status)
	require.Equal(t, 200, login("new@example.org", "third password").status)
	page, token = box.link(t, "ann@example.org")
	require.Equal(t, "/auth/undo", page)
	require.Equal(t, 204, post(page, "", map[string]string{"token": token, "password": "fourth password"}).status)
	require.Equal(t, 401, login("new@example.org", "third password").status)

	// A login by e-mail.
	for len(box.mails) > 0 {
		<-box.mails
	}
	a = post("/auth/code", "", map[string]string{"email": "ann@example.org"})
	require.Equal(t, 202, a.status)
	handle := a.object(t)["handle"].(string)
	var code string
	for code == "" {
		if mail := <-box.mails; strings.Contains(mail.Subject, "code") {
			code = mailCode.FindString(mail.Text)
		}
	}
	a = post("/auth/code/login", "", map[string]string{"handle": handle, "code": code})
	require.Equal(t, 200, a.status)
	ann = a.object(t)["access_token"].(string)

	// What the service keeps, and its end.
	a, err = send(base, call{method: "GET", path: "/auth/export", token: ann})
	require.NoError(t, err)
	document.check(t, a)
	require.Equal(t, 200, a.status)
	require.Contains(t, string(a.body), "ann@example.org")
	require.NotContains(t, string(a.body), "$2a$")
	require.Equal(t, 204, post("/auth/delete", ann, map[string]string{"current_password": "fourth password"}).status)
	require.Equal(t, 401, login("ann@example.org", "fourth password").status)
}
