package contract

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Orgs describes the organizations of a service: groups of accounts, with roles
// of their members. New, Add, Owner, Member and Routes are required. The other
// fields let more attacks apply.
//
// In the paths and JSON bodies of routes, {org} stands for the ID of an
// organization, {user} for that of a member, and {role}, {email} and {token} for
// those texts.
type Orgs struct {
	// New creates an organization with an owner. Add makes an account a member.
	// Both return the ID of the user as it is in paths.
	New func(ctx context.Context, owner Account) (org, user string, err error)
	Add func(ctx context.Context, org string, a Account, role string) (user string, err error)

	// Owner, Manager and Member are names of roles. An owner may do everything. A
	// manager manages members, and must not make or remove owners. A member must
	// not manage members.
	Owner, Manager, Member string

	// Routes are routes of an organization. LoggedIn is every member, and
	// AdminOnly is an owner. One of them must be a GET route for LoggedIn.
	Routes []Route

	// SetRole changes the role of a member, and Remove removes one. Their Access
	// is not read, nor is that of the routes below.
	SetRole, Remove Route

	// Invite invites an address, and Accept accepts an invitation. Invitation
	// returns the token that an address was sent last.
	Invite, Accept Route
	Invitation     func(ctx context.Context, email string) (token string, err error)

	// Switch makes an organization the active one of the session. Active is a GET
	// route of the active organization, whose response tells which one it is.
	Switch, Active Route
}

// problems returns why organizations cannot be attacked.
func (o *Orgs) problems() (all []string) {
	if o.New == nil || o.Add == nil || o.Owner == "" || o.Member == "" {
		all = append(all, "Target.Orgs is incomplete; set New, Add, Owner and Member")
	}
	if !slices.ContainsFunc(o.Routes, isGuardedGet) {
		all = append(all, "Target.Orgs.Routes has no GET route with Access LoggedIn; add one")
	}
	return all
}

// A person is an account that is logged in, and its ID in an organization.
type person struct {
	Account

	token, user string
}

// A team is an organization of the attacks.
type team struct {
	id                     string
	owner, manager, member person // the manager is missing without Orgs.Manager
}

// person returns an account that nothing else uses, with a token.
func (p *probe) person(ctx context.Context) (person, error) {
	account, err := p.fresh(ctx, firstPassword)
	if err != nil {
		return person{}, err
	}
	tokens, err := p.logIn(ctx, account)
	return person{Account: account, token: tokens.Access}, err
}

// join adds a new account to an organization.
func (p *probe) join(ctx context.Context, org, role string) (person, error) {
	who, err := p.person(ctx)
	if err == nil {
		who.user, err = p.Orgs.Add(ctx, org, who.Account, role)
	}
	return who, err
}

// team creates an organization. Its owner and its member can use it, or an
// attack shows nothing.
func (p *probe) team(ctx context.Context) (t team, err error) {
	if t.owner, err = p.person(ctx); err != nil {
		return t, err
	}
	if t.id, t.owner.user, err = p.Orgs.New(ctx, t.owner.Account); err != nil {
		return t, err
	}
	if t.member, err = p.join(ctx, t.id, p.Orgs.Member); err != nil {
		return t, err
	}
	if p.Orgs.Manager != "" {
		if t.manager, err = p.join(ctx, t.id, p.Orgs.Manager); err != nil {
			return t, err
		}
	}
	for _, r := range p.Orgs.Routes {
		if r.Method != http.MethodGet || r.Access == Public {
			continue
		}
		who := t.owner
		if r.Access == LoggedIn {
			who = t.member
		}
		if err := p.allowed(ctx, r, t, who, nil); err != nil {
			return t, err
		}
	}
	return t, nil
}

// of returns the request of a route of an organization. The values are pairs of
// a name and a text.
func (p *probe) of(r Route, t team, who person, values []string) message {
	paths, bodies := []string{"{org}", url.PathEscape(t.id)}, []string{"{org}", escape(t.id)}
	for i := 0; i < len(values); i += 2 {
		name := "{" + values[i] + "}"
		paths, bodies = append(paths, name, url.PathEscape(values[i+1])), append(bodies, name, escape(values[i+1]))
	}
	r.Path, r.Body = strings.NewReplacer(paths...).Replace(r.Path), strings.NewReplacer(bodies...).Replace(r.Body)
	return p.request(r, who.token)
}

// escape returns a text as it is written within the quotes of JSON.
func escape(s string) string { return strings.Trim(quote(s), `"`) }

// allowed sends a request that must have success, or an attack shows nothing.
func (p *probe) allowed(ctx context.Context, r Route, t team, who person, values []string) error {
	a, err := p.send(ctx, p.of(r, t, who, values))
	switch {
	case err != nil:
		return err
	case a.throttled():
		return errThrottled
	case p.reached(ctx, r.Method, a, nil) == nil:
		return fmt.Errorf("%s %s without an attack responds with %d", r.Method, r.Path, a.status)
	}
	return nil
}

// belongs reports whether a person can use the organization.
func (p *probe) belongs(ctx context.Context, t team, who person) (bool, error) {
	r := p.Orgs.route()
	a, err := p.send(ctx, p.of(r, t, who, nil))
	if err != nil {
		return false, err
	}
	return p.reached(ctx, r.Method, a, nil) != nil, nil
}

// denied sends a request that the service must refuse.
func (p *probe) denied(ctx context.Context, r Route, t team, who person, values ...string) error {
	a, err := p.send(ctx, p.of(r, t, who, values))
	return p.reached(ctx, r.Method, a, err)
}

// deniedAll sends a request to all GET routes of an organization with an access,
// which the service must refuse.
func (p *probe) deniedAll(ctx context.Context, access Access, t team, who person) error {
	any := false
	for _, r := range p.Orgs.Routes {
		if r.Method != http.MethodGet || r.Access != access {
			continue
		}
		any = true
		if err := p.denied(ctx, r, t, who); err != nil {
			return err
		}
	}
	if !any {
		return &inapplicable{"Target.Orgs.Routes has no such GET route"}
	}
	return nil
}

// setRole and remove change a member by a request of another one.
func (p *probe) setRole(ctx context.Context, t team, by, who person, role string) (*answer, error) {
	return p.send(ctx, p.of(p.Orgs.SetRole, t, by, []string{"user", who.user, "role", role}))
}

func (p *probe) remove(ctx context.Context, t team, by, who person) error {
	return p.allowed(ctx, p.Orgs.Remove, t, by, []string{"user", who.user})
}

// invited invites an address to an organization, and returns the token.
func (p *probe) invited(ctx context.Context, t team, by person, email, role string) (string, error) {
	if err := p.allowed(ctx, p.Orgs.Invite, t, by, []string{"email", email, "role", role}); err != nil {
		return "", err
	}
	token, err := p.Orgs.Invitation(ctx, email)
	if err == nil && token == "" {
		err = errors.New("Target.Orgs.Invitation returns no token")
	}
	p.hide(token)
	return token, err
}

// teamAttack is the run function of an attack on a new organization.
func teamAttack(f func(context.Context, *probe, team) error) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		t, err := p.team(ctx)
		if err != nil {
			return err
		}
		return f(ctx, p, t)
	}
}

// strangers returns an account without an organization, and the owner of
// another one.
func (p *probe) strangers(ctx context.Context) ([]person, error) {
	alone, err := p.person(ctx)
	if err != nil {
		return nil, err
	}
	other, err := p.team(ctx)
	return []person{alone, other.owner}, err
}

// otherID returns an ID of the same form that no organization has.
func otherID(id string) string {
	other := []byte(id)
	for i := max(0, len(other)-6); i < len(other); i++ {
		switch c := other[i]; {
		case c >= '0' && c <= '9':
			other[i] = '0' + (c-'0'+5)%10
		case c >= 'a' && c <= 'f':
			other[i] = 'a' + (c-'a'+3)%6
		case c >= 'g' && c <= 'z', c >= 'A' && c <= 'Z':
			other[i] = c ^ 1
			if other[i] < 'A' || other[i] > 'Z' && other[i] < 'g' || other[i] > 'z' {
				other[i] = c
			}
		}
	}
	return string(other)
}

// route returns the first GET route for members.
func (o *Orgs) route() Route { return o.Routes[slices.IndexFunc(o.Routes, isGuardedGet)] }

// fire sends a request without a record of it, so that requests can be sent at
// once.
func (p *probe) fire(ctx context.Context, m message) {
	r, err := http.NewRequestWithContext(ctx, m.method, p.base.String()+m.path, strings.NewReader(m.body))
	if err != nil {
		return
	}
	r.Header = m.header
	if response, err := p.client.Do(r); err == nil {
		_ = response.Body.Close()
	}
}

func isInapplicable(err error) bool {
	_, ok := errors.AsType[*inapplicable](err)
	return ok
}
