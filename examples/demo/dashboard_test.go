package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDashboard asserts that Prometheus can read every expression of the dashboard and of the
// alerts, that all of what they name is in a scrape, and that all of authkit's metrics are shown.
func TestDashboard(t *testing.T) {
	t.Parallel()
	promtool := promtool(t)
	text, err := os.ReadFile("monitoring/dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	var rules strings.Builder
	fmt.Fprint(&rules, "groups:\n- name: dashboard\n  rules:\n")
	for i, panel := range dashboard.Panels {
		require.NotEmpty(t, panel.Targets, panel.Title)
		for j, target := range panel.Targets {
			expr := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*").Replace(target.Expr)
			require.NotRegexp(t, `authkit_[a-z_]+(?:$|[^a-z_{]|\{[^j])`, expr, "of every job, whatever is chosen")
			fmt.Fprintf(&rules, "  - {record: 'panel:%d:%d', expr: '%s'}\n", i, j, expr)
		}
	}
	name := filepath.Join(t.TempDir(), "dashboard.yml")
	require.NoError(t, os.WriteFile(name, []byte(rules.String()), 0o600))
	for _, file := range []string{name, "monitoring/alerts.yml"} {
		out, err := exec.Command(promtool, "check", "rules", file).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	alerts, err := os.ReadFile("monitoring/alerts.yml")
	require.NoError(t, err)
	service, err := newServer(t.Context(), testConfig(t))
	require.NoError(t, err)
	families, err := service.monitor.registry.Gather()
	require.NoError(t, err)
	var served []string
	kinds := map[string]bool{}
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "authkit_") {
			served = append(served, family.GetName())
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				kinds[l.GetValue()] = true
			}
		}
	}
	names := func(text []byte) (names []string) { // but for those of recorded rules
		for _, match := range regexp.MustCompile(`(?:^|[^:a-z_])(authkit_[a-z_]+)`).FindAllSubmatch(text, -1) {
			names = append(names, string(match[1]))
		}
		return names
	}
	shown := names(text)
	for _, metric := range slices.Concat(shown, names(alerts)) {
		require.Contains(t, served, metric)
	}
	for _, metric := range served {
		require.Contains(t, shown, metric, "is on no panel")
	}
	for _, match := range regexp.MustCompile(`(?:event|reason)(?:!=|=~|=)\\?"([a-z_.*|]+)\\?"`).FindAllStringSubmatch(string(text)+string(alerts), -1) {
		for kind := range strings.SplitSeq(match[1], "|") {
			if !strings.Contains(kind, "*") {
				require.True(t, kinds[kind], "%s: no event has that", kind)
			}
		}
	}
}
