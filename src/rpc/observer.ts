import type { DescMethod } from '@bufbuild/protobuf';
import type { Code } from './codes.ts';

/** How a call came in. */
export type Protocol = 'grpc' | 'grpc_web' | 'connect';

/** What is known of a call before anything was decided. */
export interface CallInfo {
  method: DescMethod;
  protocol: Protocol;
  /** Which listener it came in by. */
  listener?: 'grpc' | 'http';
  /** "address:port" of the caller. */
  peer: string;
  /** A request header by its lower-case name; for `traceparent` and `tracestate`. Untrusted. */
  header(name: string): string | undefined;
}

export interface CallOutcome {
  code: Code;
  /** The error's reason without its prefix ("AGENT_NOT_FOUND"); undefined when OK. */
  reason: string | undefined;
  /** How long the call took, milliseconds. */
  elapsedMs: number;
}

/** One call as seen by telemetry: a span and its measurements. */
export interface RpcObservation {
  /** Runs `work` within the call's trace context, also what it awaits. */
  run<T>(work: () => T): T;
  /** Called exactly once. */
  finish(outcome: CallOutcome): void;
}

/** What both bindings tell of every call (also of a session, which is one call from hello to its end). */
export interface RpcObserver {
  start(call: CallInfo): RpcObservation;
}
