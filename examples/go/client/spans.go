package client

import (
	"context"

	"go.opentelemetry.io/otel"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	agentv1 "mycosoft.dev/orchestrator/agent/v1"
)

// Without a tracer provider (package tracing) spans cost nothing, and what came is passed on as it came.
var (
	tracer = otel.Tracer("mycosoft.dev/orchestrator/client")
	w3c    = propagation.TraceContext{}
)

func startSpan(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	return tracer.Start(ctx, name, trace.WithSpanKind(kind))
}

func endSpan(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(otelcodes.Error, "")
	}
	span.End()
}

// remote makes the sender's span the parent.
func remote(ctx context.Context, delivery *agentv1.Delivery) context.Context {
	carrier := propagation.MapCarrier{"traceparent": delivery.Traceparent, "tracestate": delivery.Tracestate}
	return w3c.Extract(ctx, carrier)
}

// traceOf is the context's span as CloudEvents extensions.
func traceOf(ctx context.Context) map[string]string {
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return carrier
}

func withTrace(ctx context.Context) context.Context {
	for key, value := range traceOf(ctx) {
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	return ctx
}
