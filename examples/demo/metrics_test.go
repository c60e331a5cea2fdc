package main

import (
	"log/slog"
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// On its own address /metrics asks for no token, and there is nothing else.
func TestMetricsAddr(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	cfg := testConfig(t)
	cfg.metricsAddr, cfg.log = "127.0.0.1:0", slog.New(slog.NewTextHandler(&log, nil))
	_, service := startService(t, cfg)
	stop, err := serveMetrics(cfg, service.monitor)
	require.NoError(t, err)
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(log.String())
	require.NotEmpty(t, url, log.String())
	for path, status := range map[string]int{"/metrics": http.StatusOK, "/token": http.StatusNotFound, "/users/me": http.StatusNotFound, "/": http.StatusNotFound} {
		a, err := send(url, call{method: "GET", path: path})
		require.NoError(t, err)
		require.Equal(t, status, a.status, path)
	}
	stop()
	a, err := send(url, call{method: "GET", path: "/metrics"})
	require.True(t, err != nil || a.status != http.StatusOK, "it goes on") // somebody else may have the port by now
}

func TestMetricsAddrIsLoopback(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:9100": "", "[::1]:9100": "", "localhost:0": "", "": "",
		":9100": "loopback", "0.0.0.0:9100": "loopback", "192.0.2.1:9100": "loopback", "example.com:1": "loopback", "9100": "no address",
	} {
		_, err := load([]string{"-metrics-addr", addr})
		if want == "" {
			require.NoError(t, err, addr)
		} else {
			require.ErrorContains(t, err, want, addr)
		}
	}
}
