package client

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
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

// sending begins the span of a message, or of a call, on its way.
func sending(ctx context.Context, operation, messageType string, kind trace.SpanKind) (context.Context, trace.Span) {
	return tracer.Start(ctx, operation+" "+messageType, trace.WithSpanKind(kind),
		trace.WithAttributes(attributes(operation, "send", messageType)...))
}

// processing begins the span of a handler, of a message or a task: below the sender's span; or, where others have the
// message, too, in a trace of its own that links to it.
func processing(ctx context.Context, delivery *agentv1.Delivery) (context.Context, trace.Span) {
	name := "process " + delivery.GetMessage().GetType()
	attributes := attributes("process", "process", delivery.GetMessage().GetType())
	if task := delivery.GetTask(); task != nil {
		name, attributes = "run "+task.Capability, []attribute.KeyValue{attribute.String("orchestrator.task.id", task.Id)}
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attributes...)}
	carrier := propagation.MapCarrier{"traceparent": delivery.Traceparent, "tracestate": delivery.Tracestate}
	sender := w3c.Extract(ctx, carrier)
	if delivery.Shared {
		options = append(options, trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(sender)))
	}
	return tracer.Start(sender, name, options...)
}

func attributes(name, kind, messageType string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "mycosoft.orchestrator"),
		attribute.String("messaging.operation.name", name),
		attribute.String("messaging.operation.type", kind),
		attribute.String("cloudevents.event_type", messageType),
	}
}

func endSpan(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(otelcodes.Error, "")
	}
	span.End()
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
