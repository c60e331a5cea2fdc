package authotel_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authotel"
)

// A real program gives the provider an exporter, such as that of Prometheus, instead of this reader.
func Example() {
	reader := metric.NewManualReader()
	telemetry, err := authotel.New(authotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	if err != nil {
		panic(err)
	}
	kit, err := authkit.New(authkit.Config{
		Secret:  []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		OnEvent: []func(context.Context, authkit.Event){telemetry.OnEvent},
	})
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

// A database stands for a store such as that of package sqlstore.
type database struct{ *authkit.MemoryStore }

// One store keeps accounts, sessions and tickets. Each call to it is a span.
func ExampleTelemetry_Users() {
	spans := tracetest.NewInMemoryExporter()
	telemetry, err := authotel.New(authotel.Options{TracerProvider: trace.NewTracerProvider(trace.WithSyncer(spans))})
	if err != nil {
		panic(err)
	}
	store := database{authkit.NewMemoryStore()}
	kit, err := authkit.New(authkit.Config{
		Secret:   []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:    telemetry.Users(store),
		Sessions: authkit.SessionConfig{Store: telemetry.Sessions(store)},
		Tickets:  telemetry.Tickets(store),
		OnEvent:  []func(context.Context, authkit.Event){telemetry.OnEvent},
	})
	if err != nil {
		panic(err)
	}
	_, _ = kit.Login(context.Background(), "nobody@example.com", "guess")

	for _, span := range spans.GetSpans() {
		fmt.Println(span.Name)
	}
	// Output:
	// UserStore.UserByEmail
}
