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
def span(operation, message_type, kind, parent=None, shared=False):
    """The active span of what is done inside; gives its context, to be sent along.

    `parent`: the sender's context, as it came. Where others have the message, too (`shared`), the span begins a trace
    of its own that links to the sender's.
    """
    if _tracer is None:
        if parent:
            _passed_on.set({key: text for key, text in parent.items() if text})
        yield _passed_on.get()
        return
    from opentelemetry import propagate, trace
    from opentelemetry.context import Context

    sender = propagate.extract(parent) if parent else None
    links = [trace.Link(trace.get_current_span(sender).get_span_context())] if shared else []
    attributes = {"messaging.system": "mycosoft.orchestrator", "messaging.operation.name": operation,
                  "messaging.operation.type": "process" if parent else "send", "cloudevents.event_type": message_type}
    with _tracer.start_as_current_span(f"{operation} {message_type}", Context() if shared else sender,
                                       trace.SpanKind[kind], attributes, links):
        carrier = {}
        propagate.inject(carrier)
        yield carrier
