package authotel_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authotel"
)

// A program of yours gives the provider an exporter, such as that of Prometheus, in place of
// the reader here.
func Example() {
	reader := metric.NewManualReader()
	telemetry, err := authotel.New(authotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	if err != nil {
		panic(err)
	}
	kit, err := authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), OnEvent: []func(context.Context, authkit.Event){telemetry.OnEvent}})
	if err != nil {
		panic(err)
	}
	telemetry.Observe(kit)

	_, _ = kit.Login(context.Background(), "nobody@example.com", "guess")

	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		panic(err)
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		if points, ok := m.Data.(metricdata.Sum[int64]); ok {
			for _, p := range points.DataPoints {
				if p.Value > 0 {
					fmt.Println(m.Name, p.Attributes.Encoded(attribute.DefaultEncoder()), p.Value)
				}
			}
		}
	}
	// Unordered output:
	// authkit.events event=authn_login_fail,reason=unknown_user 1
	// authkit.hash.turns  1
}
