import type {
  CallError,
  FromWorker,
  RequestOf,
  ResponseOf,
  ServiceName,
  ToWorker,
  UnaryName,
  WatchSpec,
} from './protocol.ts';

/** A call that went wrong. */
export class CallFailed extends Error {
  readonly call: CallError;

  constructor(call: CallError) {
    super(call.message);
    this.call = call;
  }
}

type Listener = (news: FromWorker) => void;

const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'live' });
const listeners = new Set<Listener>();
const calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: CallFailed) => void }>();
let lastCall = 0;
let lastWatch = 0;

const send = (message: ToWorker): void => worker.postMessage(message);

worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
  if (data.kind === 'answer' || data.kind === 'failure') {
    const waiting = calls.get(data.id);
    calls.delete(data.id);
    if (data.kind === 'answer') waiting?.resolve(data.response);
    else waiting?.reject(new CallFailed(data.error));
    return;
  }
  for (const listener of listeners) listener(data);
});

worker.addEventListener('error', ({ message }) => {
  const reason = message || 'the page could not load all of its parts';
  for (const listener of listeners)
    listener({ kind: 'link', link: { state: 'lost', reason, retryAt: Number.POSITIVE_INFINITY } });
});

/** Hears all that the stream brings. */
export function onNews(listener: Listener): void {
  listeners.add(listener);
}

/** Asks for other parts. What comes belongs to the number that is returned; older news is none. */
export function watchLive(spec: WatchSpec): number {
  lastWatch += 1;
  send({ kind: 'watch', watch: lastWatch, spec });
  return lastWatch;
}

export const retryNow = (): void => send({ kind: 'retry' });

/** Calls a unary method by name. @throws CallFailed */
export function call<S extends ServiceName, M extends UnaryName<S>>(
  service: S,
  method: M,
  request: RequestOf<S, M>,
  signal?: AbortSignal,
): Promise<ResponseOf<S, M>> {
  lastCall += 1;
  const id = lastCall;
  return new Promise<ResponseOf<S, M>>((resolve, reject) => {
    calls.set(id, { resolve: (value) => resolve(value as ResponseOf<S, M>), reject });
    signal?.addEventListener('abort', () => send({ kind: 'cancel', id }), { once: true });
    send({ kind: 'call', id, service, method, request });
  });
}

/** A fresh id that makes a mutation safe to repeat. */
export const requestId = (): string =>
  `web-${crypto.getRandomValues(new Uint32Array(3)).reduce((text, part) => text + part.toString(36), '')}`;
