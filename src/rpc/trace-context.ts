const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/;
const MAX_PARENT = 128;
/** What W3C Trace Context asks everybody to pass on at least. */
const MAX_STATE = 512;

/** The W3C trace context in request headers, which are untrusted; empty: there is none. */
export function traceOf(header: (name: string) => string | undefined): {
  traceparent: string;
  tracestate: string;
} {
  const traceparent = header('traceparent') ?? '';
  if (traceparent.length > MAX_PARENT || !TRACEPARENT.test(traceparent)) return NONE;
  const tracestate = header('tracestate') ?? '';
  return { traceparent, tracestate: /^[\x20-\x7e]*$/.test(tracestate) ? tracestate.slice(0, MAX_STATE) : '' };
}

const NONE = { traceparent: '', tracestate: '' };
