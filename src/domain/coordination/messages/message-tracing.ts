import type { SendMessage } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { SendMessageResponse } from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { DeliveryRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';

/** W3C trace context. */
export interface TraceContext {
  traceparent: string;
  tracestate: string;
}

/** How messages are followed through the service; the spans are telemetry's. */
export interface MessageTracing {
  /** Runs `work` in the span of storing a message. `work` gets the context that goes along with its deliveries. */
  send(
    namespace: string,
    send: SendMessage,
    work: (trace: TraceContext) => Promise<SendMessageResponse>,
  ): Promise<SendMessageResponse>;
  /**
   * An attempt at a delivery has ended.
   * @param elapsedMs since it was handed out
   */
  settled(record: DeliveryRecord, state: string, elapsedMs: number): void;
}

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/;
/** What W3C Trace Context asks everybody to pass on at least. */
const MAX_STATE = 512;

/** Nothing of its own: what the sender says is passed on, where it is a trace context. */
export const untraced: MessageTracing = {
  send: (_namespace, { message }, work) => {
    const { traceparent = '', tracestate = '' } = message?.extensions ?? {};
    if (traceparent.length > 128 || !TRACEPARENT.test(traceparent)) return work(NONE);
    return work({ traceparent, tracestate: tracestate.length > MAX_STATE ? '' : tracestate });
  },
  settled: () => {},
};

const NONE: TraceContext = { traceparent: '', tracestate: '' };
