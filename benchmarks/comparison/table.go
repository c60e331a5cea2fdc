package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/authkit-go/authkit/contract"
)

// An area is a row of the table: the attacks whose IDs begin with one of some
// prefixes.
type area struct {
	name     string
	prefixes []string
}

// areas are the rows. An attack belongs to the row with the longest prefix.
var areas = []area{
	{"signature and form of a token", []string{"token."}},
	{"claims and dates of a token", []string{"claim."}},
	{"place of a token in a request", []string{"header."}},
	{"spellings of paths, methods, upgrades, hosts", []string{"path.", "method.", "upgrade.", "host."}},
	{"routes and roles", []string{"access."}},
	{"reading by other sites (CORS)", []string{"cors."}},
	{"headers of responses", []string{"response.", "login.no-store"}},
	{"sizes and numbers of requests", []string{"limit."}},
	{"texts of errors", []string{"leak."}},
	{"form of a login", []string{"login."}},
	{"equal responses for unknown names", []string{"login.unknown-", "guess.status", "session.disabled-revealed"}},
	{"number of guesses", []string{"guess."}},
	{"refresh tokens", []string{"session."}},
	{"end of a session at logout", []string{"session.logout-"}},
	{"end of access for a disabled account", []string{"session.disabled-"}},
	{"session cookies", []string{"cookie."}},
}

// leftOut are groups for which no program has a route: a change of the
// password, second factors, keys, mails, logins with other providers and
// organizations. The results of the last two attacks depend on the time, and on the letters of a
// signature.
var leftOut = []string{
	"session.password-", "factor.", "key.", "account.", "social.", "identity.", "idtoken.", "link.", "org.", "invite.",
	"session.refresh-race", "token.other-alphabet",
}

// row returns the index of the area of an attack, or -1 for an attack that is
// left out.
func row(id string) (int, error) {
	best, length := 0, 0
	try := func(i int, prefixes []string) {
		for _, prefix := range prefixes {
			if strings.HasPrefix(id, prefix) && len(prefix) > length {
				best, length = i, len(prefix)
			}
		}
	}
	for i, a := range areas {
		try(i, a.prefixes)
	}
	try(-1, leftOut)
	if length == 0 {
		return 0, fmt.Errorf("the attack %s belongs to no area: add its group to areas or leftOut", id)
	}
	return best, nil
}

// A column has the counts of one program.
type column struct {
	program
	cells []cell // one for each area
}

type cell struct{ withstood, left, notApplicable int }

func (c cell) String() string {
	if c.withstood+c.left == 0 {
		return "–"
	}
	return fmt.Sprintf("%d / %d / %d", c.withstood, c.left, c.notApplicable)
}

// column counts the outcomes of a report.
func (p program) column(report *contract.Report) (column, error) {
	c := column{p, make([]cell, len(areas))}
	for _, r := range report.Results {
		at, err := row(r.ID)
		if err != nil {
			return c, err
		}
		switch {
		case r.Outcome == contract.Failed:
			return c, fmt.Errorf("%s could not be carried out: %s", r.ID, r.Note)
		case at < 0:
		case r.Outcome == contract.NotApplicable, slices.Contains(p.skip, r.ID):
			c.cells[at].notApplicable++
		case r.Outcome == contract.Withstood:
			c.cells[at].withstood++
		default:
			c.cells[at].left++
		}
	}
	return c, nil
}

// markdown returns the table, the versions, and the areas that each library
// leaves to its user.
func markdown(columns []column, versions map[string]string) string {
	var b strings.Builder
	b.WriteString("| area |")
	for _, c := range columns {
		name := c.name
		if v := versions[c.module]; v != "" && c.name != "authkit" {
			name += " " + v
		}
		fmt.Fprintf(&b, " %s |", name)
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(columns)+1) + "\n")
	sums := make([]cell, len(columns))
	for i, a := range areas {
		fmt.Fprintf(&b, "| %s |", a.name)
		for j, c := range columns {
			fmt.Fprintf(&b, " %v |", c.cells[i])
			sums[j].withstood += c.cells[i].withstood
			sums[j].left += c.cells[i].left
			sums[j].notApplicable += c.cells[i].notApplicable
		}
		b.WriteString("\n")
	}
	b.WriteString("| **all** |")
	for _, sum := range sums {
		fmt.Fprintf(&b, " %v |", sum)
	}
	b.WriteString("\n\nLeft to the user, at least in part:\n\n")
	for _, c := range columns {
		var names []string
		for i, a := range areas {
			if c.cells[i].left > 0 {
				names = append(names, a.name)
			}
		}
		if len(names) == 0 {
			names = []string{"none of these areas"}
		}
		fmt.Fprintf(&b, "- **%s**: %s\n", c.name, strings.Join(names, "; "))
	}
	return b.String()
}
