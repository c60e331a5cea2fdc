package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit/contract"
)

// attackTarget holds the flags of a target.
type attackTarget struct {
	contract.Target
	remote   bool
	html     bool
	severity string
}

// accesses are the names of the policies of routes.
var accesses = map[string]contract.Access{"public": contract.Public, "user": contract.LoggedIn, "admin": contract.AdminOnly}

// attack attacks a running server, and writes a report.
func attack(ctx context.Context, c *call) error {
	target, err := c.target()
	if err != nil {
		return err
	}
	target.Progress = func(done, all int, a contract.Attack) {
		fmt.Fprintf(c.stderr, "\r%3d of %d  %-32s", done+1, all, a.ID)
	}
	report, err := contract.Check(ctx, target.Target)
	fmt.Fprintf(c.stderr, "\r%50s\r", "")
	if err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "contract: ", ""))
	}
	switch {
	case target.html:
		err = report.WriteHTML(c.stdout)
	case c.json:
		err = report.WriteJSON(c.stdout)
	default:
		err = report.WriteText(c.stdout)
	}
	if err == nil && (report.Worst() >= severities[target.severity] || report.Count(contract.Failed) > 0) {
		err = errFound
	}
	return err
}

var severities = map[string]contract.Severity{"low": contract.Low, "medium": contract.Medium, "high": contract.High, "critical": contract.Critical}

// target reads the flags and the variables of a target.
func (c *call) target() (*attackTarget, error) {
	t := &attackTarget{}
	f := c.flags
	f.StringVar(&t.BaseURL, "base", "http://127.0.0.1:8000", "`URL` of the server")
	f.StringVar(&t.User.Name, "user", "", "`name` of an account without special rights; its password is in USER_PASSWORD")
	f.StringVar(&t.Admin.Name, "admin", "", "`name` of an administrator; the password is in ADMIN_PASSWORD")
	f.StringVar(&t.LoginPath, "login", "/token", "`path` of the token endpoint (RFC 6749 section 4.3)")
	f.BoolVar(&t.Refresh, "refresh", false, "the token endpoint exchanges refresh tokens")
	f.StringVar(&t.LogoutPath, "logout", "", "`path` that ends the session of an access token")
	f.StringVar(&t.CookiePath, "cookie-login", "", "`path` of a login form that sets a session cookie")
	f.StringVar(&t.KeySetPath, "keys", "", "`path` of the public keys (JWKS)")
	f.DurationVar(&t.Interval, "interval", 5*time.Millisecond, "time between two requests")
	f.BoolVar(&t.remote, "remote", false, "attack a server on another machine; ask its owner first")
	f.BoolVar(&t.html, "html", false, "write the report as a page")
	f.StringVar(&t.severity, "severity", "low", "lowest `severity` for the exit code 1: low, medium, high or critical")
	f.Func("route", "`'METHOD PATH ACCESS'` of a route, such as 'GET /users/me user'; ACCESS is public, user or admin; repeat it", func(text string) error {
		fields := strings.Fields(text)
		if len(fields) != 3 || accesses[fields[2]] == 0 {
			return errors.New("write it like 'GET /users/me user'")
		}
		t.Routes = append(t.Routes, contract.Route{Method: fields[0], Path: fields[1], Access: accesses[fields[2]]})
		return nil
	})
	if _, err := c.parse(0, 0); err != nil {
		return nil, err
	}
	t.User.Password, t.Admin.Password = c.env("USER_PASSWORD"), c.env("ADMIN_PASSWORD")
	switch base, err := url.Parse(t.BaseURL); {
	case err != nil || base.Host == "":
		return nil, usagef("-base %q is no URL; write it like http://127.0.0.1:8000", printable(t.BaseURL))
	case t.User.Name == "" || t.User.Password == "":
		return nil, usagef("no account; set -user and the variable USER_PASSWORD")
	case t.Admin.Name != "" && t.Admin.Password == "":
		return nil, usagef("-admin without a password; set the variable ADMIN_PASSWORD")
	case !slices.ContainsFunc(t.Routes, func(r contract.Route) bool { return r.Access == contract.LoggedIn }):
		return nil, usagef("no route for users; set one like -route 'GET /users/me user'")
	case severities[t.severity] == 0:
		return nil, usagef("-severity %q; use low, medium, high or critical", printable(t.severity))
	case !t.remote && !isLoopback(base.Hostname()):
		return nil, usagef("-base is on another machine; the attacks disturb its users; set -remote if its owner agrees")
	}
	return t, nil
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
