package embedcheck_test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// version is that of the release served to the program. No tag can have it, so that no cache and
	// no lock file in the world knows another module by it.
	version = "v0.0.0-embedcheck"

	// maxModules is what an importer's module graph may grow by: the library, its three direct
	// dependencies, and what those name themselves.
	maxModules = 9

	password = "correct horse battery"
)

// linked are the modules whose code may end up in the program. x/sys is there for the processor's
// features, which x/crypto's argon2 asks for.
var linked = []string{"github.com/golang-jwt/jwt/v5", "golang.org/x/crypto", "golang.org/x/sys"}

// TestEmbed is the program of a user who runs `go get` on the library and nothing else.
func TestEmbed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()

	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	host := command{ctx: ctx, t: t, dir: repo, env: []string{"GOWORK=off"}}
	library := strings.TrimSpace(host.run("go", "list", "-m"))

	// Other people's modules come from the cache that this test was built from; what that lacks, from
	// where the machine gets its modules. The module cache is a fresh one, so nothing is found that
	// was not served, and nothing is left behind.
	from := []string{
		release(t, repo, library),
		fileURL(filepath.Join(strings.TrimSpace(host.run("go", "env", "GOMODCACHE")), "cache", "download")),
		strings.TrimSpace(host.run("go", "env", "GOPROXY")),
	}
	program := command{ctx: ctx, t: t, dir: t.TempDir(), env: []string{
		"GOWORK=off",
		"GOFLAGS=-mod=mod -modcacherw",
		"GOMODCACHE=" + t.TempDir(),
		"GOPROXY=" + strings.Join(from, ","),
		"GONOPROXY=none",
		"GONOSUMDB=" + library, // not published; the rest is checked against our go.sum
		"SECRET_KEY=" + strings.Repeat("0123456789abcdef", 4),
		"PASSWORD=" + password,
	}}
	program.copyFile("main.go", filepath.Join("testdata", "main.go"))
	program.copyFile("go.sum", filepath.Join(repo, "go.sum"))
	goMod := fmt.Sprintf("module example.com/embedder\n\ngo 1.26.0\n\nrequire %s %s\n", library, version)
	if err := os.WriteFile(filepath.Join(program.dir, "go.mod"), []byte(goMod), 0o600); err != nil {
		t.Fatal(err)
	}

	binary := filepath.Join(t.TempDir(), "embedder.exe") // the ending that Windows needs, and no one else minds
	program.fetch("go", "build", "-o", binary, ".")

	modules := strings.Split(strings.TrimSpace(program.fetch("go", "list", "-m", "all")), "\n")[1:] // the program's own comes first
	t.Logf("%d modules in the importer's graph:\n\t%s", len(modules), strings.Join(modules, "\n\t"))
	if len(modules) > maxModules {
		t.Errorf("%d modules, at most %d are meant", len(modules), maxModules)
	}
	program.checkLinked(library)

	base := program.start(binary)
	t.Run("no token", func(t *testing.T) {
		if status, _ := send(t, "GET", base+"/hello", "", nil); status != http.StatusUnauthorized {
			t.Errorf("status %d, want 401", status)
		}
	})
	form := url.Values{"username": {"ada@example.com"}, "password": {password}}
	status, body := send(t, "POST", base+"/token", "", form)
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &token); err != nil || status != http.StatusOK || token.Access == "" {
		t.Fatalf("POST /token: status %d, %v, access token of %d bytes", status, err, len(token.Access))
	}
	t.Run("token", func(t *testing.T) {
		if status, body := send(t, "GET", base+"/hello", token.Access, nil); status != http.StatusOK || body != "hello, Ada Lovelace" {
			t.Errorf("status %d, body %q", status, body)
		}
	})
	t.Run("wrong role", func(t *testing.T) {
		if status, _ := send(t, "DELETE", base+"/everything", token.Access, nil); status != http.StatusForbidden {
			t.Errorf("status %d, want 403", status)
		}
	})
}

// release lays out a module proxy with one version of one module: the files of the working tree. It
// returns the address of the proxy.
func release(t *testing.T, repo, library string) string {
	t.Helper()
	proxy := t.TempDir()
	dir := filepath.Join(proxy, filepath.FromSlash(library), "@v")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	goMod, err := os.ReadFile(filepath.Join(repo, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	if err := pack(&packed, os.DirFS(repo), library+"@"+version+"/"); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": []byte(`{"Version":"` + version + `","Time":"2026-01-02T03:04:05Z"}`),
		version + ".mod":  goMod,
		version + ".zip":  packed.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return fileURL(proxy)
}

// pack writes the files of a module as the go command expects them of a proxy: every path behind the
// module's path and version, nested modules left out. Dot directories are left out too: no build
// reads them, and one of them is the repository.
func pack(w io.Writer, fsys fs.FS, prefix string) error {
	z := zip.NewWriter(w)
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == ".":
			return nil
		case d.IsDir():
			_, nested := fs.Stat(fsys, path+"/go.mod")
			if d.Name()[0] == '.' || d.Name() == "node_modules" || nested == nil {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		content, err := fs.ReadFile(fsys, path)
		if err != nil {
			return err
		}
		f, err := z.Create(prefix + path)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	return z.Close()
}

// A command runs programs in one directory, in the machine's environment and more.
type command struct {
	ctx context.Context
	t   *testing.T
	dir string
	env []string
}

func (c command) prepare(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.ctx, name, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), c.env...)
	return cmd
}

// output returns what a program prints, or what it says when it fails.
func (c command) output(name string, args ...string) (string, error) {
	cmd := c.prepare(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, &stderr)
	}
	return string(out), nil
}

// run returns what a program prints, and ends the test if it fails.
func (c command) run(name string, args ...string) string {
	c.t.Helper()
	out, err := c.output(name, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// fetch is run for what may need a module that this machine has not seen: a server that refuses one
// is asked again.
func (c command) fetch(name string, args ...string) string {
	c.t.Helper()
	for range 2 {
		if out, err := c.output(name, args...); err == nil {
			return out
		}
	}
	return c.run(name, args...)
}

// start runs a service that prints its address until the test ends, and returns its base URL.
func (c command) start(name string) string {
	c.t.Helper()
	cmd := c.prepare(name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // reports the kill
		if c.t.Failed() {
			c.t.Logf("the program's log:\n%s", &stderr)
		}
	})
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		c.t.Fatalf("the program printed no address: %v", err)
	}
	return "http://" + strings.TrimSpace(address)
}

// copyFile puts a file into the command's directory.
func (c command) copyFile(name, from string) {
	c.t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, name), content, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// checkLinked holds the packages that end up in the program to the modules in linked, and keeps what
// is for tests out of it.
func (c command) checkLinked(library string) {
	c.t.Helper()
	for line := range strings.Lines(c.run("go", "list", "-deps", "-f", "{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}", ".")) {
		pkg, module, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case pkg == "testing" || strings.HasPrefix(pkg, "testing/"):
			c.t.Errorf("the program links %s", pkg)
		case module == "" || module == library || module == "example.com/embedder":
		case !slices.Contains(linked, module):
			c.t.Errorf("the program links %s of %s", pkg, module)
		}
	}
}

// send makes a request, with a bearer token if there is one, and returns the status and the body.
func send(t *testing.T, method, address, token string, form url.Values) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// fileURL is the address of a directory, with the slash in front that a Windows drive lacks.
func fileURL(dir string) string {
	return (&url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(dir), "/")}).String()
}
