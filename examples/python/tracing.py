"""OpenTelemetry for an agent: on when the packages are there and OTEL_EXPORTER_OTLP_ENDPOINT is set, else free."""
import contextlib
import contextvars
import os

_tracer = None
_passed_on = contextvars.ContextVar("passed_on", default={})  # without OpenTelemetry: the context that came, as it came


def start(service_name):
    """Spans go to OTEL_EXPORTER_OTLP_ENDPOINT over HTTP; what is left goes when the process ends."""
    global _tracer
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    _tracer = trace.get_tracer("orchestrator_agent")


@contextlib.contextmanager
def span(name, kind, parent=None):
    """The active span of what is done inside; gives its context, to be sent along. `parent`: as it came, or None."""
    if _tracer is None:
        if parent:
            _passed_on.set({key: text for key, text in parent.items() if text})
        yield _passed_on.get()
        return
    from opentelemetry import propagate, trace

    context = propagate.extract(parent) if parent else None
    with _tracer.start_as_current_span(name, context, trace.SpanKind[kind]):
        carrier = {}
        propagate.inject(carrier)
        yield carrier
