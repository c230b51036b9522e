import type { Instruments } from './instruments.ts';
import { codeName, type Protocol } from './names.ts';
import type { Tracing } from './tracing.ts';

/** A call as the bindings describe it. */
export interface ObservedCall {
  method: { name: string; parent: { typeName: string } };
  protocol: Protocol;
  peer: string;
  header(name: string): string | undefined;
}

export interface ObservedOutcome {
  /** google.rpc.Code. */
  code: number;
  reason: string | undefined;
  elapsedMs: number;
}

export interface Observation {
  run<T>(work: () => T): T;
  finish(outcome: ObservedOutcome): void;
}

/** Gives every call a span and a measurement; fits the bindings' observer. */
export function createRpcObserver(options: { tracer: Tracing; instruments: Instruments }): {
  start(call: ObservedCall): Observation;
} {
  const { tracer, instruments } = options;
  return {
    start: (call) => {
      const service = call.method.parent.typeName;
      const method = call.method.name;
      const span = tracer.startRpcSpan({
        service,
        method,
        listener: call.protocol,
        carrier: (name) => call.header(name),
        peer: call.peer,
      });
      return {
        run: span.run,
        finish: ({ code, reason, elapsedMs }) => {
          const name = codeName(code);
          span.end(name, reason);
          instruments.rpcFinished({ service, method, code: name, elapsedMs, listener: call.protocol });
        },
      };
    },
  };
}
