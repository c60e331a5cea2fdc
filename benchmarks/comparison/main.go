// Command comparison attacks four small programs with package contract: one
// with each of three other libraries, and one with authkit. It prints a table
// of how many attacks each program withstands, and how many its library leaves
// to its user.
//
//	GOWORK=off go run ./comparison
//
// A program is written as the README of its library shows, with the documented
// options that narrow the default. A library without accounts gets a map of them,
// with hashes of bcrypt.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/authkit-go/authkit/contract"
)

// A program is a service that is attacked.
type program struct {
	name   string
	module string // of its library
	target func() (contract.Target, error)

	// skip lists attacks that do not apply to the program, although the contract
	// cannot see that.
	skip []string
}

// The grant type of a form is a field of OAuth 2.0, which the other libraries do
// not claim to implement.
const grantType = "login.grant"

// sameSiteStrict lists attacks in which a page of another site sends the session
// cookie. Browsers do not send a cookie with SameSite=Strict for such a page.
var sameSiteStrict = []string{"cookie.cross-site", "cookie.cross-site-origin", "cookie.cross-site-null"}

// ownNames lists attacks that would test the function translated: those on the
// header Authorization, and a form with another encoding.
var ownNames = []string{"header.empty-token", "header.scheme", "header.more-text", "header.two-headers", "login.basic", "limit.form-parts"}

// onlyLogout is an attack on the logout with the session cookie. go-pkgz/auth
// checks an additional header for requests that change something, but not at the
// logout, which only deletes the cookies of a browser.
const onlyLogout = "cookie.same-site-request"

func programs() []program {
	return []program{
		{"authkit", "github.com/authkit-go/authkit", authKit, nil},
		{"gin-jwt", "github.com/appleboy/gin-jwt/v3", ginJWT, append([]string{grantType}, sameSiteStrict...)},
		{"jwtauth", "github.com/go-chi/jwtauth/v5", chiJWTAuth, []string{grantType}},
		{"go-pkgz/auth", "github.com/go-pkgz/auth/v2", pkgzAuth, slices.Concat([]string{grantType, onlyLogout}, sameSiteStrict, ownNames)},
	}
}

func main() {
	log.SetFlags(0)
	attacks := flag.Bool("attacks", false, "list the attacks that are left to the user, on stderr")
	flag.Parse()
	var details io.Writer = io.Discard
	if *attacks {
		details = os.Stderr
	}
	columns, err := attack(context.Background(), details)
	if err != nil {
		log.Fatal(err)
	}
	modules, err := versions("go.mod")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(markdown(columns, modules))
}

// attack attacks every program, one after the other.
func attack(ctx context.Context, details io.Writer) ([]column, error) {
	var columns []column
	for _, p := range programs() {
		target, err := p.target()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		report, err := contract.Check(ctx, target)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		c, err := p.column(report)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		columns = append(columns, c)
		for _, r := range report.Results {
			if r.Outcome == contract.Succeeded && !slices.Contains(p.skip, r.ID) {
				fmt.Fprintf(details, "%s\t%s\t%s\n", p.name, r.ID, r.Note)
			}
		}
	}
	return columns, nil
}

// versions returns the versions of the modules that a go.mod requires.
func versions(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(words) >= 2 && strings.HasPrefix(words[1], "v") {
			found[words[0]] = words[1]
		}
	}
	return found, nil
}
