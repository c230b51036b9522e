import type { Delivery } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { MessageTarget } from './outgoing.ts';

/** W3C trace context by its header names; empty where nothing is traced. */
export type TraceContext = Readonly<Record<string, string>>;

/** Spans around what is sent, called and handled. */
export interface MessageTracing {
  send<T>(target: MessageTarget, type: string, work: (context: TraceContext) => Promise<T>): Promise<T>;
  call<T>(target: MessageTarget, type: string, work: (context: TraceContext) => Promise<T>): Promise<T>;
  /** Runs a handler. */
  process<T>(delivery: Delivery, work: () => Promise<T>): Promise<T>;
}

export const noTracing: MessageTracing = {
  send: (_target, _type, work) => work({}),
  call: (_target, _type, work) => work({}),
  process: (_, work) => work(),
};
