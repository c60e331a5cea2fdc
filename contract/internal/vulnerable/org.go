package vulnerable

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Roles of organizations.
const (
	Owner   = "owner"
	Manager = "manager"
	Member  = "member"
)

// An organization is a group of users.
type organization struct {
	id      string
	roles   map[string]string // by the name of the member
	former  map[string]string // the first roles of members
	leaving chan struct{}     // of an owner who waits for another one
}

// An invitation invites an address to an organization.
type invitation struct {
	org             *organization
	email, role, by string
	used            bool
}

// NewOrg creates an organization, and returns its ID.
func (s *Service) NewOrg(owner string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &organization{id: random(), roles: map[string]string{owner: Owner}, former: map[string]string{owner: Owner}}
	s.orgs[o.id] = o
	return o.id
}

// AddMember adds an account to an organization.
func (s *Service) AddMember(id, name, role string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orgs[id].roles[name], s.orgs[id].former[name] = role, role
}

// Invitation returns the token of the invitation that an address was sent.
func (s *Service) Invitation(email string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, i := range s.invitations {
		if i.email == email && !i.used {
			return token
		}
	}
	return ""
}

// organizations serves the paths of organizations. It reports whether the path
// is one of them.
func (s *Service) organizations(w http.ResponseWriter, r *http.Request, method, target string) bool {
	parts := strings.Split(strings.TrimPrefix(target, "/"), "/")
	active := target == "/board" && method == http.MethodGet
	if !active && (parts[0] != "orgs" || len(parts) < 2) {
		return false
	}
	of := &session{user: &user{}}
	if !s.is("open organization") || r.Header.Get("Authorization") != "" {
		if of = s.caller(w, r); of == nil {
			return true
		}
	}
	switch {
	case active:
		s.activeBoard(w, r, of)
	case method+" "+target == "POST /orgs/accept":
		s.acceptInvitation(w, r, of)
	default:
		s.organization(w, r, of, parts[1], method+" "+strings.Join(parts[2:], "/"))
	}
	return true
}

// role returns the role with which a user acts in an organization, or "".
func (s *Service) role(o *organization, of *session, route string) string {
	role := o.roles[of.user.name]
	manages := strings.Contains(route, "members/")
	switch {
	case s.is("open organization") && of.id == "", s.is("members of others") && manages:
		return Owner
	case s.is("organization of others") && role == "":
		return Member
	case s.is("removed member") && role == "", s.is("old role"):
		return o.former[of.user.name]
	}
	return role
}

// organization serves a route of one organization.
func (s *Service) organization(w http.ResponseWriter, r *http.Request, of *session, id, route string) {
	o := s.orgs[id]
	role := ""
	if o != nil {
		role = s.role(o, of, route)
	}
	switch {
	case route == "POST switch" && o != nil && s.is("switch"):
	case role == "" && o != nil && s.is("revealed organization"):
		fail(w, http.StatusForbidden, "not a member")
		return
	case role == "":
		fail(w, http.StatusNotFound, "not found")
		return
	}
	method, rest, _ := strings.Cut(route, " ")
	member, isMember := strings.CutPrefix(rest, "members/")
	switch {
	case route == "GET board":
		reply(w, http.StatusOK, map[string]string{"org": o.id})
	case route == "POST switch":
		s.active[of.id] = o.id
		w.WriteHeader(http.StatusNoContent)
	case route == "GET invitations" && (role == Owner || s.is("list of a member")):
		s.listInvitations(w, o)
	case route == "POST invitations":
		s.invite(w, r, of, o, role)
	case isMember && method == http.MethodPut:
		s.setRole(w, r, of, o, role, member)
	case isMember && method == http.MethodDelete:
		s.removeMember(w, of, o, role, member)
	default:
		fail(w, http.StatusForbidden, "not enough permissions")
	}
}

// activeBoard serves the active organization of a session.
func (s *Service) activeBoard(w http.ResponseWriter, r *http.Request, of *session) {
	o := s.orgs[s.active[of.id]]
	if chosen := s.orgs[r.URL.Query().Get("org_id")]; chosen != nil && s.is("chosen organization") {
		o = chosen
	}
	if o == nil || o.roles[of.user.name] == "" && !s.is("chosen organization", "active of a removed member") {
		fail(w, http.StatusNotFound, "not found")
		return
	}
	reply(w, http.StatusOK, map[string]string{"org": o.id})
}

// mayGrant reports whether a member with a role may grant or take away another
// one.
func (s *Service) mayGrant(role, other string) bool {
	return role == Owner || role == Manager && (other != Owner || s.is("manager"))
}

func readBody(r *http.Request) map[string]string {
	body := map[string]string{}
	text, _ := readAll(r)
	_ = json.Unmarshal(text, &body)
	return body
}

// setRole changes the role of a member.
func (s *Service) setRole(w http.ResponseWriter, r *http.Request, of *session, o *organization, role, name string) {
	next := readBody(r)["role"]
	now := o.roles[name]
	promotes := s.is("promotion") && name == of.user.name
	switch {
	case now == "":
		fail(w, http.StatusNotFound, "not found")
	case next != Owner && next != Manager && next != Member:
		fail(w, http.StatusUnprocessableEntity, "no such role")
	case !promotes && (!s.mayGrant(role, now) || !s.mayGrant(role, next)):
		fail(w, http.StatusForbidden, "not enough permissions")
	case now == Owner && next != Owner && s.owners(o) < 2 && !s.is("last owner"):
		fail(w, http.StatusConflict, "the last owner stays")
	default:
		o.roles[name] = next
		w.WriteHeader(http.StatusNoContent)
	}
}

// owners returns the number of owners.
func (s *Service) owners(o *organization) int {
	n := 0
	for _, role := range o.roles {
		if role == Owner {
			n++
		}
	}
	return n
}

// removeMember removes a member.
func (s *Service) removeMember(w http.ResponseWriter, of *session, o *organization, role, name string) {
	now := o.roles[name]
	switch {
	case now == "":
		fail(w, http.StatusNotFound, "not found")
		return
	case name != of.user.name && !s.mayGrant(role, now):
		fail(w, http.StatusForbidden, "not enough permissions")
		return
	case now == Owner && s.owners(o) < 2 && !s.is("last owner"):
		fail(w, http.StatusConflict, "the last owner stays")
		return
	case now == Owner && name == of.user.name && s.is("last owner at once"):
		s.wait(o)
	}
	delete(o.roles, name)
	w.WriteHeader(http.StatusNoContent)
}

// wait lets another request check the organization, before the change of this
// one.
func (s *Service) wait(o *organization) {
	if o.leaving != nil {
		close(o.leaving)
		o.leaving = nil
		return
	}
	other := make(chan struct{})
	o.leaving = other
	s.mu.Unlock()
	select {
	case <-other:
	case <-time.After(5 * time.Second): // there is none
	}
	s.mu.Lock()
}

func (s *Service) listInvitations(w http.ResponseWriter, o *organization) {
	list := []map[string]string{}
	for token, i := range s.invitations {
		if i.org != o || i.used {
			continue
		}
		entry := map[string]string{"email": i.email, "role": i.role}
		if s.is("revealed invitation") {
			entry["token"] = token
		}
		list = append(list, entry)
	}
	reply(w, http.StatusOK, list)
}

// invite invites an address.
func (s *Service) invite(w http.ResponseWriter, r *http.Request, of *session, o *organization, role string) {
	body := readBody(r)
	if role == Member || !s.mayGrant(role, body["role"]) && !s.is("role of an invitation") {
		fail(w, http.StatusForbidden, "not enough permissions")
		return
	}
	s.invitations[random()] = &invitation{org: o, email: body["email"], role: body["role"], by: of.user.name}
	reply(w, http.StatusAccepted, map[string]string{"email": body["email"]})
}

// acceptInvitation makes a user a member by an invitation.
func (s *Service) acceptInvitation(w http.ResponseWriter, r *http.Request, of *session) {
	token := readBody(r)["token"]
	i := s.invitations[token]
	if s.is("forged invitation") && len(token) > 10 {
		for known, other := range s.invitations {
			if strings.HasPrefix(known, token) {
				i = other
			}
		}
	}
	good := i != nil && (!i.used || s.is("invitation twice")) &&
		(i.email == of.user.name || s.is("address of an invitation")) &&
		(!of.user.unproved || s.is("unverified guest")) &&
		(s.mayGrant(i.org.roles[i.by], i.role) || s.is("inviter"))
	if !good {
		fail(w, http.StatusBadRequest, "no such invitation")
		return
	}
	i.used = true
	i.org.roles[of.user.name], i.org.former[of.user.name] = i.role, i.role
	reply(w, http.StatusOK, map[string]string{"org": i.org.id})
}

// ownsAny reports whether a user owns an organization.
func (s *Service) ownsAny(u *user) bool {
	for _, o := range s.orgs {
		if o.roles[u.name] == Owner {
			return true
		}
	}
	return false
}
