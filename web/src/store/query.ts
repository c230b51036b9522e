// Answers that come once, not by the stream: asked again when what they depend on changes.
import { type ReadonlySignal, signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { CallFailed, call } from '../live/client.ts';
import {
  type RequestOf,
  type ResponseOf,
  type ServiceName,
  steadyNow,
  type UnaryName,
} from '../live/protocol.ts';

export interface Answer<T> {
  value: T | undefined;
  /** When it came, by `steadyNow`. */
  at: number | undefined;
  error: string | undefined;
  pending: boolean;
}

const nothing: Answer<never> = { value: undefined, at: undefined, error: undefined, pending: true };

/** Asks, and asks anew when `key` changes; an answer to an older key is dropped. Keeps the last answer meanwhile. */
export function useCall<S extends ServiceName, M extends UnaryName<S>>(
  service: S,
  method: M,
  request: RequestOf<S, M>,
  key: string,
): ReadonlySignal<Answer<ResponseOf<S, M>>> {
  const held = useRef(signal<Answer<ResponseOf<S, M>>>(nothing));
  useEffect(() => {
    const ending = new AbortController();
    const answer = held.current;
    answer.value = { ...answer.peek(), pending: true };
    call(service, method, request, ending.signal).then(
      (value) => {
        if (ending.signal.aborted) return;
        answer.value = { value, at: steadyNow(), error: undefined, pending: false };
      },
      (error: unknown) => {
        if (ending.signal.aborted) return;
        const message = error instanceof CallFailed ? error.message : String(error);
        answer.value = { ...answer.peek(), error: message, pending: false };
      },
    );
    return () => ending.abort();
  }, [service, method, key]);
  return held.current;
}
