package authkit_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readmeFrame stands around the excerpts of the README that are not whole programs:
// what they assume to be there. An excerpt that declares a function stands outside.
const readmeFrame = `package readme

import (
	"context"
	"database/sql"
	"errors"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/harden"
	"github.com/authkit-go/authkit/jwks"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/throttle"
	"github.com/stretchr/testify/require"
)

var (
	mux      *authkit.Mux
	keys     *authkit.KeyRing
	guard    *authkit.Guard
	pool     *sql.DB
	db       *sqlstore.DB

	userID, email, handle, code string
)

func renderLogin(http.ResponseWriter, *http.Request, authkit.LoginForm) {}
func account(http.ResponseWriter, *http.Request)                        {}
func transfer(http.ResponseWriter, *http.Request)                       {}
func report(http.ResponseWriter, *http.Request)                         {}
func newMux(*authkit.Kit) http.Handler                                  { return nil }

func listOrders(http.ResponseWriter, *http.Request) {}
func listNotes(http.ResponseWriter, *http.Request)  {}

var (
	_ = os.Getenv
	_ = log.Fatal
	_ = sqlstore.Postgres
	_ = errors.Is
	_ http.ResponseWriter
	_ context.Context
	_ *testing.T
	_ = require.Equal
	_ = storetest.TestUserStore
	_ = audit.New
	_ = auditsql.New
	_ = harden.New
	_ = throttle.New
	_ = jwks.NewRemote
	_ = authkittest.NewKit
	_ = contract.Run
	_ = httptest.NewRecorder
	_ = time.Now
)

var form struct{ Email, Company, Password string }

type router struct{}

func (router) With(func(http.Handler) http.Handler) router { return router{} }
func (router) Delete(string, http.HandlerFunc)             {}

func deleteEverything(http.ResponseWriter, *http.Request) {}

`

// Every Go block of the README, and of docs/migrating.md, compiles: whole programs as they stand, excerpts within
// a frame.
func TestReadmeCompiles(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Less(t, strings.Count(string(text), "\n"), 300, "the README is under 300 lines")
	more, err := os.ReadFile("docs/migrating.md")
	require.NoError(t, err)
	text = append(text, more...)

	root, err := filepath.Abs(".")
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name, content string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	sum, err := os.ReadFile("go.sum")
	require.NoError(t, err)
	write("go.mod", strings.Replace(string(mod), "module github.com/authkit-go/authkit\n", "module readme\n", 1)+
		"\nrequire github.com/authkit-go/authkit v0.0.0\n\nreplace github.com/authkit-go/authkit => "+root+"\n")
	write("go.sum", string(sum))

	blocks := strings.Split(string(text), "```go\n")[1:]
	require.GreaterOrEqual(t, len(blocks), 5)
	for i, block := range blocks {
		code, _, found := strings.Cut(block, "```")
		require.True(t, found)
		name := fmt.Sprintf("block%d/code.go", i)
		switch {
		case strings.HasPrefix(code, "package "):
			write(name, code)
		case strings.HasPrefix(code, "func "):
			write(name, readmeFrame+code)
		default:
			write(name, readmeFrame+"func excerpt(ctx context.Context, kit *authkit.Kit, r router, store *authkit.MemoryStore, w http.ResponseWriter, req *http.Request) error {\n{\n"+
				code+use(code)+"\n}\nreturn nil\n}\n")
		}
	}
	cmd := exec.Command("go", "build", "-mod=mod", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// use returns statements that use what the lines of an excerpt declare that are not
// indented, as the first line of a statement is not.
func use(code string) string {
	var used strings.Builder
	for line := range strings.SplitSeq(code, "\n") {
		names, _, declares := strings.Cut(line, " := ")
		if declares && !strings.ContainsAny(names, "\t(") && !strings.HasPrefix(names, "if ") {
			used.WriteString("\n" + strings.Repeat("_, ", strings.Count(names, ",")) + "_ = " + strings.Replace(names, "_", "0", 1))
		}
	}
	return used.String()
}
