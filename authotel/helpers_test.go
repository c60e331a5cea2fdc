package authotel_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authotel"
)

const (
	secret   = "0d7fa9c4e1b2835f96a0c7d4e8b1f352"
	password = "correct horse battery"
)

var quick = authkit.Schemes(authkit.Bcrypt{Cost: 4, InsecureLowCost: true})

// newTelemetry returns a Telemetry with metrics, and a function that reads them. The keys of its
// result are "name{event,reason}".
func newTelemetry(t testing.TB) (*authotel.Telemetry, func() map[string]float64) {
	t.Helper()
	reader := metric.NewManualReader()
	telemetry, err := authotel.New(authotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	require.NoError(t, err)
	return telemetry, func() map[string]float64 {
		var data metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(context.Background(), &data))
		values := map[string]float64{}
		for _, scope := range data.ScopeMetrics {
			for _, m := range scope.Metrics {
				switch points := m.Data.(type) {
				case metricdata.Sum[int64]:
					require.True(t, points.IsMonotonic)
					put(values, m.Name, points.DataPoints)
				case metricdata.Gauge[int64]:
					put(values, m.Name, points.DataPoints)
				case metricdata.Sum[float64]:
					put(values, m.Name, points.DataPoints)
				default:
					t.Fatalf("%s is a %T", m.Name, m.Data)
				}
			}
		}
		return values
	}
}

func put[N int64 | float64](values map[string]float64, name string, points []metricdata.DataPoint[N]) {
	for _, p := range points {
		key := name
		if event, ok := p.Attributes.Value(attribute.Key("event")); ok {
			reason, _ := p.Attributes.Value("reason")
			key = fmt.Sprintf("%s{%s,%s}", name, event.AsString(), reason.AsString())
		}
		values[key] += float64(p.Value)
	}
}

func newKit(t testing.TB, change ...func(*authkit.Config)) *authkit.Kit {
	t.Helper()
	cfg := authkit.Config{Secret: []byte(secret), Passwords: authkit.PasswordConfig{Hasher: quick}, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&cfg)
	}
	kit, err := authkit.New(cfg)
	require.NoError(t, err)
	return kit
}
