package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/org"
)

// orgPath is the path of the routes of organizations.
const orgPath = "/orgs"

// newOrgs returns the organizations. The mail of an invitation has its token, for POST
// /orgs/accept. A program with pages would link to one of them.
func newOrgs(cfg config, kit *authkit.Kit, store *storage, mailer account.Mailer) (*org.Orgs, error) {
	return org.New(kit, org.Config{
		Store: store.orgs,
		Send: func(ctx context.Context, i org.Invite) error {
			return mailer.Send(ctx, account.Message{
				To:      i.Email,
				Subject: "An invitation",
				Text: fmt.Sprintf("You are invited to %q.\n\nSign up with this address at %s%s/register, log in, and send this token to POST %s/accept:\n\n%s\n",
					i.Org.Name, cfg.baseURL, accountPath, orgPath, i.Token),
			})
		},
	})
}

// mountOrgs adds the routes of organizations, and two that use them: a board for the members
// of the organization in the path, and one for the active organization of the session.
func (s *server) mountOrgs(orgs *org.Orgs) {
	orgs.Mount(s.mux, orgPath)
	s.mux.HandleFunc("GET "+orgPath+"/{org}/board", orgs.Member(), s.board)
	s.mux.HandleFunc("GET /board", orgs.Active(), s.board)
}

// A board is a text that only members of an organization can read.
type board struct {
	OrgID string   `json:"org_id"`
	Roles []string `json:"roles"` // of the reader
	Text  string   `json:"text"`
}

func (*server) board(w http.ResponseWriter, r *http.Request) {
	m, _ := org.MembershipFrom(r.Context())
	writeJSON(w, http.StatusOK, board{m.Org.ID, m.Roles, "Only members read this."})
}
