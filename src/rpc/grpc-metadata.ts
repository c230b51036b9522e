import type { Metadata, ServerInterceptingCallInterface } from '@grpc/grpc-js';

/** A textual header; the first one if it came several times. */
export function headerOf(metadata: Metadata, name: string): string | undefined {
  const value = metadata.get(name)[0];
  return typeof value === 'string' ? value : undefined;
}

/** Milliseconds until the caller's deadline, or undefined. */
export function timeoutOf(call: ServerInterceptingCallInterface): number | undefined {
  const deadline = Number(call.getDeadline());
  return deadline === Infinity ? undefined : Math.max(0, deadline - Date.now());
}
