package org_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
)

// A program with organizations. Members with the permission can add projects.
func Example() {
	store := org.NewMemoryStore() // or orgsql.New(db)
	kit, err := authkit.New(authkit.Config{
		Secret:   []byte("a secret of your own, 32 bytes or more"),
		Users:    authkit.NewMemoryStore(),
		UserData: []authkit.UserData{org.UserData(store)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	orgs, err := org.New(kit, org.Config{
		Store: store,
		Roles: map[string][]string{"admin": {org.ManageMembers, "project:write"}, "member": {}},
		Send: func(_ context.Context, i org.Invite) error {
			_ = "https://example.com/join#" + i.Token // mail it to i.Email
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := kit.NewMux()
	orgs.Mount(mux, "/orgs")
	mux.HandleFunc("POST /orgs/{org}/projects", orgs.Member("project:write"), func(_ http.ResponseWriter, r *http.Request) {
		m, _ := org.MembershipFrom(r.Context())
		_ = m.Org.ID // add a project of this organization
	})
	for _, route := range mux.AccessMatrix()[10:] {
		fmt.Println(route.Method, route.Pattern, "-", route.Policy)
	}
	// Output:
	// POST /orgs/{org}/projects - authenticated; and: member of {org}: project:write
	// POST /orgs/{org}/switch - authenticated; and: member of {org}
}
