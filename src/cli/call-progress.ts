import {
  type CallAgentResponse,
  type MessageTrace,
  MessageTrace_Step as Step,
} from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { Context } from './context.ts';
import { createLiveView, type LiveView } from './output/live-view.ts';
import { bad, dim, good, type Line, plain, renderLine, type Span, strong, warn } from './output/text.ts';
import { durationMs, formatMs, timestampMs } from './output/time.ts';

/** Without news for so long it is called without them: an older service, or one that is busy. */
const WATCH_MS = 1_000;
const TICK_MS = 1_000;

/**
 * Shows on stderr how far a call is, by what the service tells of its traffic: on a terminal one line that grows, elsewhere a
 * line for each step. A call is made without it where the service tells nothing.
 */
export class CallProgress {
  readonly #context: Context;
  readonly #messageId: string;
  readonly #source: string;
  readonly #type: string;
  readonly #stop = new AbortController();
  readonly #view: LiveView | undefined;
  readonly #startMs = performance.now();
  #steps: Span[] = [];
  #watching: Promise<void> = Promise.resolve();
  #ticker: NodeJS.Timeout | undefined;

  constructor(options: { context: Context; messageId: string; source: string; type: string }) {
    this.#context = options.context;
    this.#messageId = options.messageId;
    this.#source = options.source;
    this.#type = options.type;
    const { stderr } = options.context.io;
    this.#view = stderr.isTTY === true ? createLiveView(stderr) : undefined;
  }

  /** Resolves when steps will be heard of, or it is clear that they will not. */
  async begin(): Promise<void> {
    const heard = new Promise<void>((resolve) => {
      this.#watching = this.#watch(resolve).finally(resolve);
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, WATCH_MS);
    });
    await Promise.race([heard, late]);
    clearTimeout(timer);
    if (this.#view === undefined) return;
    this.#draw();
    this.#ticker = setInterval(() => this.#draw(), TICK_MS);
  }

  answered({ agentId, elapsed }: CallAgentResponse): void {
    const ms = elapsed === undefined ? performance.now() - this.#startMs : durationMs(elapsed);
    this.#tell([good('answered'), plain(' by '), strong(agentId), dim(` ${formatMs(ms)}`)], true);
  }

  async end(): Promise<void> {
    clearInterval(this.#ticker);
    this.#stop.abort();
    await this.#watching;
    this.#view?.end();
  }

  async #watch(begun: () => void): Promise<void> {
    const { connection, namespace, signal } = this.#context;
    const stop = AbortSignal.any([signal, this.#stop.signal]);
    const request = { namespace, senders: [this.#source], types: [this.#type] };
    try {
      for await (const { traces } of connection.messages.watchMessages(request, { signal: stop })) {
        begun();
        for (const trace of traces) {
          if (trace.messageId !== this.#messageId) continue;
          const line = stepLine(trace);
          if (line !== undefined) this.#tell(line, false);
        }
      }
    } catch {
      // The call itself says what is wrong.
    }
  }

  #tell(line: Line, last: boolean): void {
    if (this.#view === undefined) {
      this.#context.note(line);
      return;
    }
    this.#steps = [...this.#steps, ...(this.#steps.length === 0 ? [] : [dim(' → ')]), ...line];
    this.#draw(last);
  }

  #draw(last = false): void {
    const waited = performance.now() - this.#startMs;
    const clock = last || waited < TICK_MS ? [] : [dim(` … ${formatMs(waited)}`)];
    this.#view?.draw([renderLine([...this.#steps, ...clock], this.#context.noticeStyle)]);
  }
}

/** What a step is to somebody who waits; undefined: the end, which the answer tells. */
function stepLine(trace: MessageTrace): Line | undefined {
  const { step, agentId, tries, reason, error, latency } = trace;
  const after = latency === undefined ? '' : ` ${formatMs(durationMs(latency))}`;
  switch (step) {
    case Step.STORED:
      return [plain('stored for '), strong(agentId)];
    case Step.REROUTED:
      return [plain('stored for '), strong(agentId), warn(` (rerouted by ${trace.policyId})`)];
    case Step.HANDED_OUT:
      return [plain(tries > 1 ? `handed out again (try ${tries})` : 'handed out'), dim(after)];
    case Step.TAKEN_ON:
      return [plain('taken on'), dim(after)];
    case Step.MOVED:
      return [warn(`${trace.fromAgentId} is lost`), plain(', moved to '), strong(agentId)];
    case Step.DECLINED:
    case Step.FAILED: {
      const what = step === Step.DECLINED ? 'declined' : 'failed';
      if (trace.retryTime === undefined) return undefined;
      const left = trace.time === undefined ? 0 : timestampMs(trace.retryTime) - timestampMs(trace.time);
      return [warn(what), plain(error === '' ? '' : `: ${error}`), dim(`, again in ${formatMs(left)}`)];
    }
    case Step.DEAD_LETTER:
    case Step.WITHDRAWN:
      return reason === '' ? undefined : [bad(`given up: ${reason}`)];
    default:
      return undefined;
  }
}
