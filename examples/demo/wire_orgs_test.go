package main

import (
	"encoding/json"
	"net/url"
	"regexp"
	"testing"

	"github.com/authkit-go/authkit/account"
	"github.com/stretchr/testify/require"
)

var inviteToken = regexp.MustCompile(`(?m)^\S+\.\S{43}$`)

// TestWireOrgs walks through two organizations, over HTTP: a stranger is invited, signs up
// and joins, and members of one see nothing of the other.
func TestWireOrgs(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	box := mailbox{make(chan account.Message, 10)}
	cfg.mailer = box
	base := start(t, cfg)
	document := readContract(t, base)
	do := func(method, path, token string, body any) answer {
		t.Helper()
		c := call{method: method, path: path, token: token}
		if body != nil {
			text, err := json.Marshal(body)
			require.NoError(t, err)
			c.contentType, c.body = "application/json", string(text)
		}
		a, err := send(base, c)
		require.NoError(t, err)
		document.check(t, a)
		return a
	}
	type object = map[string]any
	signUp := func(email string) string { // and log in
		t.Helper()
		require.Equal(t, 202, do("POST", "/auth/register", "", object{"email": email}).status)
		page, token := box.link(t, email)
		require.Equal(t, 201, do("POST", page, "", object{"token": token, "password": "correct horse"}).status)
		form := url.Values{"username": {email}, "password": {"correct horse"}}
		a, err := send(base, call{method: "POST", path: "/token", contentType: "application/x-www-form-urlencoded", body: form.Encode()})
		require.NoError(t, err)
		return a.object(t)["access_token"].(string)
	}
	create := func(token, name string) string {
		t.Helper()
		a := do("POST", "/orgs", token, object{"name": name})
		require.Equal(t, 201, a.status)
		return a.object(t)["org"].(object)["id"].(string)
	}
	invited := func(email string) string {
		t.Helper()
		mail := <-box.mails
		require.Equal(t, email, mail.To)
		return inviteToken.FindString(mail.Text)
	}

	// Ann owns Acme, and Eve owns another organization.
	ann, eve := signUp("ann@example.org"), signUp("eve@example.org")
	acme, other := create(ann, "Acme"), create(eve, "Other")
	require.Equal(t, 422, do("POST", "/orgs", ann, object{"name": ""}).status)

	// Bob has no account. He is invited, signs up with that address, and joins.
	invitation := object{"email": "bob@example.org", "roles": []string{"member"}}
	require.Equal(t, 404, do("POST", "/orgs/"+acme+"/invitations", eve, invitation).status)
	require.Equal(t, 201, do("POST", "/orgs/"+acme+"/invitations", ann, invitation).status)
	token := invited("bob@example.org")
	a := do("GET", "/orgs/"+acme+"/invitations", ann, nil)
	require.Equal(t, 200, a.status)
	require.NotContains(t, string(a.body), token)
	bob := signUp("bob@example.org")
	require.Equal(t, 400, do("POST", "/orgs/accept", eve, object{"token": token}).status)
	require.Equal(t, 404, do("GET", "/orgs/"+acme+"/board", bob, nil).status)
	require.Equal(t, 200, do("POST", "/orgs/accept", bob, object{"token": token}).status)
	require.Equal(t, 400, do("POST", "/orgs/accept", bob, object{"token": token}).status)
	require.Equal(t, 200, do("GET", "/orgs/"+acme+"/board", bob, nil).status)
	require.Equal(t, 404, do("GET", "/orgs/"+other+"/board", bob, nil).status)
	require.Equal(t, 404, do("GET", "/orgs/"+acme+"/board", eve, nil).status)

	// A second invitation is revoked.
	require.Equal(t, 201, do("POST", "/orgs/"+acme+"/invitations", ann, object{"email": "eve@example.org", "roles": []string{"admin"}}).status)
	token = invited("eve@example.org")
	var list []object
	require.NoError(t, json.Unmarshal(do("GET", "/orgs/"+acme+"/invitations", ann, nil).body, &list))
	require.Len(t, list, 1)
	require.Equal(t, 403, do("GET", "/orgs/"+acme+"/invitations", bob, nil).status)
	require.Equal(t, 204, do("DELETE", "/orgs/"+acme+"/invitations/"+list[0]["id"].(string), ann, nil).status)
	require.Equal(t, 400, do("POST", "/orgs/accept", eve, object{"token": token}).status)

	// Bob makes Acme the active organization of his session.
	require.Equal(t, 404, do("GET", "/board", bob, nil).status)
	require.Equal(t, 404, do("POST", "/orgs/"+other+"/switch", bob, nil).status)
	require.Equal(t, 200, do("POST", "/orgs/"+acme+"/switch", bob, nil).status)
	require.Equal(t, acme, do("GET", "/board", bob, nil).object(t)["org_id"])
	require.NoError(t, json.Unmarshal(do("GET", "/orgs", bob, nil).body, &list))
	require.Equal(t, true, list[0]["active"])

	// Ann makes him an admin, and can then leave only with another owner.
	var members []object
	require.NoError(t, json.Unmarshal(do("GET", "/orgs/"+acme+"/members?limit=100", ann, nil).body, &members))
	require.Len(t, members, 2)
	ids := map[string]string{}
	for _, m := range members {
		ids[m["roles"].([]any)[0].(string)] = m["user_id"].(string)
	}
	path := "/orgs/" + acme + "/members/"
	require.Equal(t, 200, do("PUT", path+ids["member"], ann, object{"roles": []string{"admin"}}).status)
	require.Equal(t, 403, do("PUT", path+ids["member"], bob, object{"roles": []string{"owner"}}).status)
	require.Equal(t, 403, do("DELETE", path+ids["owner"], bob, nil).status)
	require.Equal(t, 409, do("DELETE", path+ids["owner"], ann, nil).status)
	a = do("POST", "/auth/delete", ann, object{"current_password": "correct horse"})
	require.Equal(t, 409, a.status, "the last owner cannot delete the account either")
	require.Equal(t, 403, do("DELETE", "/orgs/"+acme, bob, nil).status)

	// A removal acts at the next request.
	require.Equal(t, 204, do("DELETE", path+ids["member"], ann, nil).status)
	require.Equal(t, 404, do("GET", "/orgs/"+acme+"/board", bob, nil).status)
	require.Equal(t, 404, do("GET", "/board", bob, nil).status)
	require.Equal(t, 204, do("DELETE", "/orgs/"+acme, ann, nil).status)
	require.Equal(t, 404, do("GET", "/orgs/"+acme+"/members", ann, nil).status)
	require.Equal(t, 200, do("GET", "/orgs/"+other+"/board", eve, nil).status)
}
