import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Delivery,
  type GoAway,
  type Hello,
  type OpenSessionRequest,
  OpenSessionRequestSchema,
  type OpenSessionResponse,
  type Ping,
  type Result,
  type Revoke,
  type Welcome,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentError, Code } from './errors.ts';
import type { Reporter } from './reporter.ts';
import { SilenceTimer, toDuration, toMs } from './time.ts';
import type { AgentStream, AgentTransport } from './transport.ts';

/** How a session ended. */
export type SessionEnd =
  | { why: 'go_away'; goAway: GoAway }
  | { why: 'error'; error: AgentError }
  /** The server ended the call in good order, without go_away. */
  | { why: 'ended' };

/** What a session passes on. */
export interface SessionHooks {
  welcome(welcome: Welcome): void;
  delivery(delivery: Delivery): void;
  revoke(revoke: Revoke): void;
  result(result: Result): void;
  /** Something came from the server in an open session. */
  heard(): void;
  /** The lease changed. */
  lease(leaseMs: number): void;
}

/**
 * The part of the lease after which a silent stream is given up. Pings come at least three times in a lease, so two
 * in a row were missed by then, and a third is left to attach anew before the agent counts as lost.
 */
const deadAfterLeases = 2 / 3;

/** One attachment: hello, welcome, then answers to pings until it ends. Notices by itself when the stream is dead. */
export class Session {
  readonly ended: Promise<SessionEnd>;
  readonly #hooks: SessionHooks;
  readonly #reporter: Reporter;
  readonly #stream: AgentStream;
  readonly #silence: SilenceTimer;
  readonly #resolve: (end: SessionEnd) => void;
  #attached = false;
  #over = false;
  #blocked = false;
  /** The ping to answer when the transport takes bytes again: only the latest counts. */
  #owed: { ping: Ping; receivedAt: number } | undefined;

  constructor(options: {
    transport: AgentTransport;
    token: string;
    hello: Hello;
    reporter: Reporter;
    /** How long the welcome may take. */
    welcomeTimeoutMs: number;
    hooks: SessionHooks;
  }) {
    this.#hooks = options.hooks;
    this.#reporter = options.reporter;
    const { promise, resolve } = promiseWithResolve<SessionEnd>();
    this.ended = promise;
    this.#resolve = resolve;
    this.#silence = new SilenceTimer({ limitMs: options.welcomeTimeoutMs, onSilent: () => this.#dead() });
    this.#stream = options.transport.open(options.token, {
      frame: (frame) => this.#frame(frame),
      drained: () => this.#drained(),
      ended: (error) => this.#end(error === undefined ? { why: 'ended' } : { why: 'error', error }),
    });
    this.#write({ case: 'hello', value: options.hello });
  }

  /** Whether welcome came and the session is open. */
  get open(): boolean {
    return this.#attached && !this.#over;
  }

  /** Sends a frame now. Only while open. */
  send(frame: OpenSessionRequest): void {
    if (this.open) this.#blocked = !this.#stream.write(frame);
  }

  /** Sends the report unprompted if it changed. */
  flushReport(): void {
    if (!this.open || this.#blocked) return; // the answer to the next ping brings it
    const report = this.#reporter.take(false);
    if (report !== undefined) this.#heartbeat({ echo: 0n, report, heldMs: undefined });
  }

  /** Half-closes after the last frame. */
  finish(): void {
    if (!this.#over) this.#stream.end();
  }

  /** Ends the call at once. The server sees a lost connection. */
  cancel(reason: AgentError): void {
    this.#end({ why: 'error', error: reason });
  }

  #frame({ frame }: OpenSessionResponse): void {
    if (this.#over) return;
    const receivedAt = performance.now();
    this.#silence.heard();
    if (frame.case === 'welcome') this.#welcome(frame.value);
    else if (frame.case === 'goAway') this.#end({ why: 'go_away', goAway: frame.value });
    else if (this.#attached) {
      this.#hooks.heard();
      this.#work({ frame }, receivedAt);
    }
  }

  #work({ frame }: Pick<OpenSessionResponse, 'frame'>, receivedAt: number): void {
    if (frame.case === 'ping') this.#ping(frame.value, receivedAt);
    else if (frame.case === 'delivery') this.#hooks.delivery(frame.value);
    else if (frame.case === 'revoke') this.#hooks.revoke(frame.value);
    else if (frame.case === 'result') this.#hooks.result(frame.value);
    // Other kinds are of a later version: ignored.
  }

  #welcome(welcome: Welcome): void {
    if (this.#attached) return;
    this.#attached = true;
    this.#lease(toMs(welcome.lease) ?? 30_000);
    this.#hooks.welcome(welcome);
  }

  #lease(leaseMs: number): void {
    this.#silence.setLimit(leaseMs * deadAfterLeases);
    this.#hooks.lease(leaseMs);
  }

  #ping(ping: Ping, receivedAt: number): void {
    if (ping.lease !== undefined) this.#lease(toMs(ping.lease));
    if (this.#blocked) {
      this.#owed = { ping, receivedAt };
      return;
    }
    this.#answer(ping, receivedAt);
  }

  #answer(ping: Ping, receivedAt: number): void {
    const report = this.#reporter.take(ping.fullReport);
    this.#heartbeat({ echo: ping.echo, report, heldMs: performance.now() - receivedAt });
  }

  #heartbeat(beat: { echo: bigint; report: ReturnType<Reporter['take']>; heldMs: number | undefined }): void {
    this.#write({
      case: 'heartbeat',
      value: {
        $typeName: 'mycosoft.orchestrator.agent.v1.Heartbeat',
        echo: beat.echo,
        agentTime: timestampFromMs(Date.now()),
        ...(beat.heldMs === undefined ? {} : { held: toDuration(beat.heldMs) }),
        ...(beat.report === undefined ? {} : { report: beat.report }),
      },
    });
  }

  #write(frame: OpenSessionRequest['frame']): void {
    if (this.#over) return;
    this.#blocked = !this.#stream.write(create(OpenSessionRequestSchema, { frame }));
  }

  #drained(): void {
    this.#blocked = false;
    const owed = this.#owed;
    this.#owed = undefined;
    if (owed !== undefined && this.open) this.#answer(owed.ping, owed.receivedAt);
  }

  #dead(): void {
    const message = this.#attached
      ? 'nothing came from the service for two thirds of the lease: the connection is taken for dead'
      : 'the service did not welcome the session in time';
    this.cancel(new AgentError({ code: Code.UNAVAILABLE, reason: 'silent_stream', message }));
  }

  #end(end: SessionEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#silence.stop();
    this.#resolve(end);
    this.#stream.cancel();
  }
}

function promiseWithResolve<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
