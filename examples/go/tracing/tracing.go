// Package tracing sends spans to OTEL_EXPORTER_OTLP_ENDPOINT over HTTP, if that is set.
package tracing

import (
	"context"
	"log"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// Start names the service; call what it returns at the end, so that the last spans go out.
func Start(service string) (stop func()) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" {
		return func() {}
	}
	exporter, err := otlptracehttp.New(context.Background())
	if err != nil {
		log.Print("no traces: ", err)
		return func() {}
	}
	named := resource.NewSchemaless(attribute.String("service.name", service))
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(named))
	otel.SetTracerProvider(provider)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = provider.Shutdown(ctx)
	}
}
