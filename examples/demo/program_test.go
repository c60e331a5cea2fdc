//go:build unix

package main

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProgram builds the demo, starts it as the README says, runs the session that its
// greeting proposes, and stops it.
func TestProgram(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "demo")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)

	for name, signal := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": os.Interrupt} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := exec.Command(binary, "-addr", "127.0.0.1:0")
			program.Dir, program.Env = t.TempDir(), []string{"BCRYPT_COST=10"}
			stdout, err := program.StdoutPipe()
			require.NoError(t, err)
			var stderr lockedBuffer
			program.Stderr = &stderr
			require.NoError(t, program.Start())
			defer program.Process.Kill()

			greeting := readGreeting(t, stdout)
			base := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(greeting)
			require.NotEmpty(t, base, greeting)
			require.Contains(t, greeting, base+"/docs")
			require.Contains(t, greeting, "admin@example.com, password admin123")
			require.Contains(t, greeting, "user@example.com, password user123")
			require.Contains(t, stderr.String(), "SECRET_KEY is not set")
			session(t, base)

			require.NoError(t, program.Process.Signal(signal))
			require.NoError(t, program.Wait(), "%s", stderr.String())
			require.Zero(t, program.ProcessState.ExitCode())
			require.Contains(t, stderr.String(), "shutting down")
			require.NotContains(t, stderr.String(), "admin123")
			require.Empty(t, accessTokens.FindString(stderr.String()))
			require.NotContains(t, stderr.String(), "akr_")
		})
	}

	t.Run("short SECRET_KEY", func(t *testing.T) {
		t.Parallel()
		program := exec.Command(binary)
		program.Dir, program.Env = t.TempDir(), []string{"SECRET_KEY=much-too-short"}
		out, err := program.CombinedOutput()
		require.Error(t, err)
		require.Equal(t, 2, program.ProcessState.ExitCode())
		require.Contains(t, string(out), "SECRET_KEY has 14 bytes; use 32 random ones or more")
		require.NotContains(t, string(out), "much-too-short")
	})
}

// readGreeting reads what the program prints at start, up to its last line.
func readGreeting(t *testing.T, stdout io.Reader) string {
	t.Helper()
	var greeting strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		greeting.WriteString(lines.Text() + "\n")
		if strings.HasSuffix(lines.Text(), "/admin/users/") {
			break
		}
	}
	require.Equal(t, 4, strings.Count(greeting.String(), "curl "), greeting.String())
	return greeting.String()
}

// session is the greeting's curl session, and the hash that passlib's users know.
func session(t *testing.T, base string) {
	t.Helper()
	token := login(t, base, "admin@example.com", adminPassword)
	login(t, base, "user@example.com", userPassword)
	for path, want := range map[string]string{
		"/users/me/":         `"email":"admin@example.com"`,
		"/users/me/sessions": `"current":true`,
		"/users/items/":      `"owner":"admin@example.com"`,
		"/admin/users/":      `"email":"user@example.com"`,
		"/docs":              "swagger-ui",
	} {
		a, err := send(base, call{method: "GET", path: path, token: token})
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, a.status)
		require.Contains(t, string(a.body), want)
	}
	a, err := send(base, call{method: "POST", path: "/generate-hash/?" + url.Values{"password": {"a password"}}.Encode()})
	require.NoError(t, err)
	require.Contains(t, string(a.body), `{"hash":"$2a$10$`)
}
