import type { OtlpReceiver, ReceivedSpan } from '../support/otlp-receiver.ts';

const KINDS = ['', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];
const SERVICE = 'orchestrator';

/** The spans of one trace. */
export class SpanTree {
  readonly spans: readonly ReceivedSpan[];
  readonly #byId: Map<string, ReceivedSpan>;

  constructor(receiver: OtlpReceiver, traceId: string) {
    this.spans = receiver.spans.filter((span) => span.traceId === traceId);
    this.#byId = new Map(this.spans.map((span) => [span.spanId, span]));
  }

  roots(): ReceivedSpan[] {
    return this.spans.filter(({ parentSpanId }) => parentSpanId === '');
  }

  /** Spans whose parent is not there. */
  orphans(): ReceivedSpan[] {
    return this.spans.filter(({ parentSpanId }) => parentSpanId !== '' && !this.#byId.has(parentSpanId));
  }

  /** From the root down to the span. */
  pathTo(span: ReceivedSpan): ReceivedSpan[] {
    const parent = this.#byId.get(span.parentSpanId);
    return parent === undefined ? [span] : [...this.pathTo(parent), span];
  }

  childrenOf(parent: ReceivedSpan): ReceivedSpan[] {
    return this.spans.filter(({ parentSpanId }) => parentSpanId === parent.spanId);
  }
}

/** "py-1: call ask (CLIENT)"; of the service the replica is named by `replicaOf`. */
export function nameOf({ resource, name, kind }: ReceivedSpan): string {
  const short = name.replace('mycosoft.orchestrator.coordination.v1.', '');
  return `${String(resource['service.name'])}: ${short} (${KINDS[kind] ?? kind})`;
}

export const replicaOf = ({ resource }: ReceivedSpan): unknown =>
  resource['service.name'] === SERVICE ? resource['service.instance.id'] : undefined;
