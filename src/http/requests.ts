import type { NodeRequest, NodeResponse } from '../rpc/connect-response.ts';

export interface RequestsOptions {
  /** How long a request body may take to arrive. */
  requestTimeoutMs: number;
  /** How long a finished response may stay unread. */
  drainTimeoutMs: number;
  sweepMs: number;
}

interface Open {
  response: NodeResponse;
  /** When the body must be there; Infinity: never (a bidirectional stream) or it is. */
  bodyByMs: number;
  /** When what was written must be read; undefined until the response is finished. */
  readByMs: number | undefined;
}

/** Looks after requests under way, of HTTP/1 and HTTP/2 alike: cuts off slow bodies and answers that nobody reads. */
export class Requests {
  readonly #options: RequestsOptions;
  readonly #open = new Map<NodeRequest, Open>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: RequestsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#sweep(), options.sweepMs);
    this.#timer.unref();
  }

  /** `endless`: the request's body is a stream that lasts as long as the call. */
  add(request: NodeRequest, response: NodeResponse, endless: boolean): void {
    const bodyByMs = endless ? Infinity : performance.now() + this.#options.requestTimeoutMs;
    this.#open.set(request, { response, bodyByMs, readByMs: undefined });
    response.once('close', () => this.#open.delete(request));
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #sweep(): void {
    const now = performance.now();
    for (const [request, open] of this.#open) {
      const { response } = open;
      if (response.writableEnded) {
        open.readByMs ??= now + this.#options.drainTimeoutMs;
        if (now >= open.readByMs) this.#cut(request, response);
      } else if (request.complete) {
        open.bodyByMs = Infinity;
      } else if (now >= open.bodyByMs) {
        this.#cut(request, response);
      }
    }
  }

  #cut(request: NodeRequest, response: NodeResponse): void {
    this.#open.delete(request);
    response.destroy();
    // HTTP/1: the connection is of no use once a request on it was broken off.
    if (request.httpVersionMajor === 1) request.socket.destroy();
  }
}
