package contract

import (
	"regexp"
	"strings"
)

// A need is a set of fields of a target that an attack needs.
type need int

// Needs of attacks. They can be combined.
const (
	needForm need = 1 << iota
	needAdmin
	needOther
	needRefresh
	needLogout
	needPassword
	needCookie
	needSecret
	needKeySet
	needHashes
	needNewAccount
	needDisable
	needLoopback
	needAdminRoute
	needBodyRoute
	needFactor
	needKey
	needReset
	needRegister
	needMails
	needSocial
	needLink
	needUnverified
	needOrgs
	needSetRole
	needRemove
	needManager
	needInvite
	needSwitch
)

// missing returns an *inapplicable that names the fields that a target lacks, or
// nil.
func (n need) missing(t *Target) error {
	var notes []string
	orgs := Orgs{}
	if t.Orgs != nil {
		orgs = *t.Orgs
	}
	for _, c := range []struct {
		need need
		has  bool
		note string
	}{
		{needForm, t.LogIn == nil, "Target.LogIn is set, so the form of the login is not known"},
		{needAdmin, t.Admin.Name != "", "Target.Admin is not set"},
		{needOther, t.Other.Name != "" || t.NewAccount != nil, "Target.Other and NewAccount are not set"},
		{needRefresh, t.Refresh, "Target.Refresh is false"},
		{needLogout, t.LogoutPath != "", "Target.LogoutPath is not set"},
		{needPassword, t.PasswordPath != "", "Target.PasswordPath is not set"},
		{needCookie, t.CookiePath != "", "Target.CookiePath is not set"},
		{needSecret, len(t.Secret) > 0, "Target.Secret is not set"},
		{needKeySet, t.KeySetPath != "", "Target.KeySetPath is not set"},
		{needHashes, t.Hashes != nil, "Target.Hashes is not set"},
		{needNewAccount, t.NewAccount != nil, "Target.NewAccount is not set"},
		{needDisable, t.Disable != nil, "Target.Disable is not set"},
		{needLoopback, t.Handler != nil, "Target.Handler is not set, so the attack has no second address, and none that the service can reach"},
		{needAdminRoute, t.route(AdminOnly) != nil, "Target.Routes has no GET route with Access AdminOnly"},
		{needFactor, t.Enroll != nil, "Target.Enroll is not set"},
		{needKey, t.APIKey != nil, "Target.APIKey is not set"},
		{needReset, t.ResetPath != "", "Target.ResetPath is not set"},
		{needRegister, t.RegisterPath != "", "Target.RegisterPath is not set"},
		{needMails, t.Mails != nil, "Target.Mails is not set"},
		{needSocial, t.Provider != nil && t.SocialPath != "", "Target.Provider and SocialPath are not set"},
		{needLink, t.LinkPath != "", "Target.LinkPath is not set"},
		{needUnverified, t.NewUnverified != nil, "Target.NewUnverified is not set"},
		{needOrgs, t.Orgs != nil, "Target.Orgs is not set"},
		{needOrgs, t.NewAccount != nil, "Target.NewAccount is not set"},
		{needSetRole, orgs.SetRole.Path != "", "Target.Orgs.SetRole is not set"},
		{needRemove, orgs.Remove.Path != "", "Target.Orgs.Remove is not set"},
		{needManager, orgs.Manager != "", "Target.Orgs.Manager is not set"},
		{needInvite, orgs.Invite.Path != "" && orgs.Accept.Path != "" && orgs.Invitation != nil, "Target.Orgs.Invite, Accept and Invitation are not set"},
		{needSwitch, orgs.Switch.Path != "" && orgs.Active.Path != "", "Target.Orgs.Switch and Active are not set"},
		{needBodyRoute, t.bodyRoute() != nil, "Target.Routes has no route with a Body"},
	} {
		if n&c.need != 0 && !c.has {
			notes = append(notes, c.note)
		}
	}
	if len(notes) == 0 {
		return nil
	}
	return &inapplicable{strings.Join(notes, "; ")}
}

// route returns the first GET route with an access, or nil.
func (t *Target) route(access Access) *Route {
	for i, r := range t.Routes {
		if r.Method == "GET" && r.Access == access {
			return &t.Routes[i]
		}
	}
	return nil
}

// bodyRoute returns the first route that reads a body, or nil.
func (t *Target) bodyRoute() *Route {
	for i, r := range t.Routes {
		if r.Body != "" {
			return &t.Routes[i]
		}
	}
	return nil
}

// signatures finds JSON Web Tokens, without their signatures.
var signatures = regexp.MustCompile(`(eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*)\.[A-Za-z0-9_-]+`)
