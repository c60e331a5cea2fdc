package org_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
)

// show responds with the membership of the context.
func show(w http.ResponseWriter, r *http.Request) {
	m, ok := org.MembershipFrom(r.Context())
	if !ok {
		_, _ = io.WriteString(w, "none")
		return
	}
	_, _ = io.WriteString(w, m.Org.ID+" "+strings.Join(m.Roles, ","))
}

// OR-04, OR-06, AZ-01: a policy reads the membership at each request. Others get
// the answer of an organization that does not exist.
func TestMember(t *testing.T) {
	t.Parallel()
	fake := new(credential)
	a := newApp(t, func(_ *org.Config, c *authkit.Config) { c.Authenticators = []authkit.Authenticator{fake} })
	a.mux.HandleFunc("GET /p/{org}", a.Member(), show)
	a.mux.HandleFunc("GET /p/{org}/write", a.Member("project:write"), show)
	a.mux.HandleFunc("GET /p/{org}/machines", a.Member("project:write").OrMachines(), show)
	a.mux.HandleFunc("GET /p/{org}/any", a.Member().OrMachines(), show)
	a.mux.HandleFunc("GET /nowhere", a.Member(), show)
	a.mux.HandleFunc("GET /public", authkit.Public(), show)
	ann, bob, eve := a.person(t, "ann"), a.person(t, "bob"), a.person(t, "eve")
	id := a.create(t, ann)
	a.join(t, ann, id, bob, "member")
	a.create(t, eve)
	get := func(p person, path string) (int, string) {
		t.Helper()
		w := a.call(t, "GET", path, p.token, "")
		return w.Code, w.Body.String()
	}
	is := func(p person, path string, want int) string {
		t.Helper()
		code, body := get(p, path)
		require.Equal(t, want, code, path)
		return body
	}
	require.Equal(t, id+" owner", is(ann, "/p/"+id, 200))
	require.Equal(t, id+" owner", is(ann, "/p/"+id+"/write", 200))
	require.Equal(t, id+" member", is(bob, "/p/"+id, 200))
	is(bob, "/p/"+id+"/write", 403)
	require.Equal(t, is(eve, "/p/nothing", 404), is(eve, "/p/"+id, 404))
	is(eve, "/p/"+id+"/write", 404)
	is(ann, "/nowhere", 404)
	require.Equal(t, "none", is(ann, "/public", 200))
	require.Equal(t, 401, a.call(t, "GET", "/p/"+id, "", "").Code)
	keep(t)(a.SetRoles(ann, id, bob.ID, "editor"))
	is(bob, "/p/"+id+"/write", 200)
	require.NoError(t, a.Remove(ann, id, bob.ID))
	is(bob, "/p/"+id, 404)
	keep(t)(a.Accept(bob, a.invite(t, ann, id, bob.Email, "editor")))

	// A key acts for its user as far as its limits reach.
	machine := func(c authkit.Credential, path string) int {
		c.Kind, c.Machine = "key", true
		fake.Credential = c
		r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
		r.Header.Set("X-Test", "yes")
		w := httptest.NewRecorder()
		a.mux.ServeHTTP(w, r)
		return w.Code
	}
	whole := authkit.Credential{UserID: bob.ID}
	limited := authkit.Credential{UserID: bob.ID, Limited: true, Permissions: []string{"other"}}
	writes := authkit.Credential{UserID: bob.ID, Limited: true, Permissions: []string{"project:write"}}
	require.Equal(t, 403, machine(whole, "/p/"+id))
	require.Equal(t, 200, machine(whole, "/p/"+id+"/machines"))
	require.Equal(t, 403, machine(limited, "/p/"+id+"/machines"))
	require.Equal(t, 200, machine(writes, "/p/"+id+"/machines"))
	require.Equal(t, 200, machine(limited, "/p/"+id+"/any"))
	require.Equal(t, 404, machine(authkit.Credential{UserID: eve.ID}, "/p/"+id+"/machines"))
	require.Equal(t, 404, machine(authkit.Credential{Service: "billing"}, "/p/"+id+"/machines"))

	// OR-08: a key opens nothing of an organization that was deleted.
	gone := a.create(t, ann)
	a.join(t, ann, gone, bob, "editor")
	require.Equal(t, 200, machine(writes, "/p/"+gone+"/machines"))
	require.NoError(t, a.Delete(ann, gone))
	require.Equal(t, 404, machine(writes, "/p/"+gone+"/machines"))
	require.Equal(t, 404, machine(whole, "/p/"+gone+"/any"))

	// The policy belongs to its Kit.
	other := newApp(t)
	u, err := other.kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
	require.NoError(t, err)
	other.mux.HandleFunc("GET /p/{org}", a.Member(), show)
	require.Equal(t, 404, other.call(t, "GET", "/p/"+id, other.login(t, u).token, "").Code)
	require.PanicsWithValue(t, `org: no role in Config.Roles grants the permission "projects:write"`, func() { a.Member("projects:write") })
}

// The access matrix shows the condition.
func TestAccessMatrix(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	matrix := map[string]string{}
	for _, r := range a.mux.AccessMatrix() {
		matrix[r.Method+" "+r.Pattern] = r.Policy.String()
	}
	const member, manager = "authenticated; and: member of {org}", "authenticated; and: member of {org}: org:members"
	require.Equal(t, map[string]string{
		"GET /orgs": "authenticated", "POST /orgs": "authenticated", "POST /orgs/accept": "authenticated",
		"DELETE /orgs/{org}": "authenticated; fresh: 5m0s; and: member of {org}", "POST /orgs/{org}/switch": member,
		"GET /orgs/{org}/members": member, "DELETE /orgs/{org}/members/{user}": member, "PUT /orgs/{org}/members/{user}": manager,
		"GET /orgs/{org}/invitations": manager, "POST /orgs/{org}/invitations": manager, "DELETE /orgs/{org}/invitations/{id}": manager,
	}, matrix)
	require.Equal(t, "authenticated; and: member of the active organization: project:write", a.Active("project:write").String())
}

// OR-07: the active organization belongs to the session. Only switching sets it,
// and only a member has it.
func TestSwitch(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	a.mux.HandleFunc("GET /active", a.Active(), show)
	a.mux.HandleFunc("GET /active/write", a.Active("project:write"), show)
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	first, second := a.create(t, ann), a.create(t, ann)
	a.join(t, ann, first, bob, "member")
	active := func(p person, want string) {
		t.Helper()
		w := a.call(t, "GET", "/active?org="+second, p.token, "")
		if want == "" {
			require.Equal(t, 404, w.Code)
		} else {
			require.Equal(t, want, strings.Fields(w.Body.String())[0])
		}
	}
	again := a.login(t, ann.User) // another session
	active(ann, "")
	require.Equal(t, 200, a.call(t, "POST", "/orgs/"+first+"/switch", ann.token, "").Code)
	active(ann, first)
	active(again, "")
	m, err := a.Switch(again, second)
	require.NoError(t, err)
	require.True(t, m.Active)
	active(ann, first)
	active(again, second)
	_, err = a.Switch(bob, second)
	require.ErrorIs(t, err, authkit.ErrNotFound)
	active(bob, "")
	_, err = a.Switch(bob, first)
	require.NoError(t, err)
	require.Equal(t, 403, a.call(t, "GET", "/active/write", bob.token, "").Code)
	list, err := a.List(ann)
	require.NoError(t, err)
	require.Len(t, list, 2)
	for _, m := range list {
		require.Equal(t, m.Org.ID == first, m.Active)
	}
	require.NoError(t, a.Remove(ann, first, bob.ID))
	active(bob, "")
	require.NoError(t, a.Delete(ann, first))
	active(ann, "")

	// Without sessions there is nothing to switch.
	b := newApp(t, func(_ *org.Config, c *authkit.Config) { c.Sessions = authkit.SessionConfig{} })
	carl := b.person(t, "carl")
	_, err = b.Switch(carl, b.create(t, carl))
	require.ErrorIs(t, err, authkit.ErrSessionNotFound)
}

// The routes take and return JSON, and refuse everything else.
func TestRoutes(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	require.JSONEq(t, `[]`, a.call(t, "GET", "/orgs", ann.token, "").Body.String())
	w := a.call(t, "POST", "/orgs", ann.token, `{"name": "Acme"}`)
	require.Equal(t, 201, w.Code)
	require.Equal(t, []string{"no-store", "nosniff", "application/json"}, []string{
		w.Header().Get("Cache-Control"), w.Header().Get("X-Content-Type-Options"), w.Header().Get("Content-Type"), // MW-10, TR-02
	})
	var m org.Membership
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &m))
	require.Equal(t, []string{"owner"}, m.Roles)
	path := "/orgs/" + m.Org.ID
	for _, c := range []struct {
		method, path, token, body string
		want                      int
	}{
		{"POST", "/orgs", ann.token, `{"name": ""}`, 422},
		{"POST", "/orgs", ann.token, `{"name": "x", "owner": "y"}`, 400},
		{"POST", "/orgs", ann.token, `{"name": "x"} {}`, 400},
		{"POST", "/orgs", ann.token, `{"name": "` + strings.Repeat("x", 20<<10) + `"}`, 413},
		{"POST", "/orgs", ann.token, ``, 415},
		{"POST", "/orgs/accept", ann.token, `{"token": "x"}`, 400},
		{"POST", "/orgs/accept", ann.token, `{"org": "x"}`, 400},
		{"POST", "/orgs/accept", ann.token, ``, 415},
		{"GET", path + "/invitations", ann.token, ``, 200},
		{"POST", path + "/invitations", ann.token, `{"email": "x", "roles": ["member"]}`, 422},
		{"POST", path + "/invitations", ann.token, `{"email": "x@example.com", "role": "member"}`, 400},
		{"POST", path + "/invitations", ann.token, `{"email": "bob@example.com", "roles": ["editor"]}`, 201},
		{"PUT", path + "/members/" + ann.ID, ann.token, `{"roles": ["member"]}`, 409},
		{"PUT", path + "/members/" + ann.ID, ann.token, `{"roles": []}`, 422},
		{"PUT", path + "/members/" + ann.ID, ann.token, `{"user": "x"}`, 400},
		{"PUT", path + "/members/" + bob.ID, ann.token, `{"roles": ["member"]}`, 404},
	} {
		w := a.call(t, c.method, c.path, c.token, c.body)
		require.Equal(t, c.want, w.Code, "%s %s %.60s: %s", c.method, c.path, c.body, w.Body)
	}
	w = a.call(t, "POST", "/orgs/accept", bob.token, `{"token": "`+a.sent[0].Token+`"}`)
	require.Equal(t, 200, w.Code)
	w = a.call(t, "GET", path+"/members?limit=1", bob.token, "")
	var members []org.Member
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &members))
	require.Len(t, members, 1)
	w = a.call(t, "GET", path+"/members?after="+members[0].UserID, bob.token, "")
	var rest []org.Member
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &rest))
	require.Len(t, rest, 1)
	require.ElementsMatch(t, []string{ann.ID, bob.ID}, []string{members[0].UserID, rest[0].UserID})
	require.Equal(t, 200, a.call(t, "PUT", path+"/members/"+bob.ID, ann.token, `{"roles": ["member"]}`).Code)
	require.Equal(t, 403, a.call(t, "PUT", path+"/members/"+ann.ID, bob.token, `{"roles": ["member"]}`).Code)
	require.Equal(t, 403, a.call(t, "DELETE", path, bob.token, "").Code)
	w = a.call(t, "DELETE", path+"/members/"+bob.ID, bob.token, "")
	require.Equal(t, 204, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, 404, a.call(t, "GET", path+"/members", bob.token, "").Code)
	a.invite(t, ann, m.Org.ID, bob.Email, "member")
	require.Equal(t, 204, a.call(t, "DELETE", path+"/invitations/"+a.sent[1].ID, ann.token, "").Code)
	require.Equal(t, 204, a.call(t, "DELETE", path, ann.token, "").Code)
	require.Equal(t, 404, a.call(t, "DELETE", path, ann.token, "").Code)
}

// A slash at the end of the path does not change the routes.
func TestMountWithSlash(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann := a.person(t, "ann")
	a.mux = a.kit.NewMux()
	a.Mount(a.mux, "/orgs/")
	require.Equal(t, 201, a.call(t, "POST", "/orgs", ann.token, `{"name": "Acme"}`).Code)
}
