package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/authkit-go/authkit/authotel"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	prometheusexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
)

// A monitor provides the metrics for Prometheus. The directory monitoring has
// alerts and a dashboard for them.
type monitor struct {
	*authotel.Telemetry
	registry *prometheus.Registry
}

func newMonitor() (*monitor, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := prometheusexporter.New(prometheusexporter.WithRegisterer(registry), prometheusexporter.WithoutScopeInfo(), prometheusexporter.WithoutTargetInfo())
	if err != nil {
		return nil, err
	}
	telemetry, err := authotel.New(authotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(exporter))})
	if err != nil {
		return nil, err
	}
	return &monitor{telemetry, registry}, nil
}

// handler serves the metrics without authentication.
func (m *monitor) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// serveMetrics serves /metrics on this machine, for a Prometheus without a
// token, until stop is called. Without -metrics-addr it does nothing.
func serveMetrics(cfg config, m *monitor) (stop func(), err error) {
	if cfg.metricsAddr == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", cfg.metricsAddr)
	if err != nil {
		return nil, err
	}
	cfg.log.Info("metrics are served", "url", "http://"+listener.Addr().String()+"/metrics")
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.handler())
	end := runInBackground(func(ctx context.Context) error {
		err := serve(ctx, newHTTPServer(mux, cfg.log), listener, cfg.log)
		if err != nil {
			cfg.log.Error("metrics are not served any more", "err", err)
		}
		return err
	})
	return func() { _ = end() }, nil
}

// checkMetricsAddr refuses an address that other machines can reach, because
// the metrics there need no token.
func checkMetricsAddr(addr string) error {
	if addr == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("-metrics-addr %q is no address; write it like 127.0.0.1:9464", addr)
	}
	if !loopback(host) {
		return errors.New("-metrics-addr: not a loopback address, and it asks for no token; use one such as 127.0.0.1:9464, and let a Prometheus or its agent on this machine read it")
	}
	return nil
}
