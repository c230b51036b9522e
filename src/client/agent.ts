import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import {
  type Delivery,
  GoAway_Reason,
  LeaveSchema,
  type Welcome,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { mayBeRepeated } from './calls.ts';
import { createCoordination } from './coordination.ts';
import type { DeliveryDesk } from './deliveries.ts';
import { type AgentDeps, silent } from './deps.ts';
import { createDesk } from './desk.ts';
import { AgentError, cancelled, unexpected } from './errors.ts';
import { FirstTurn } from './first-turn.ts';
import { helloOf, specOf } from './hello.ts';
import { LeaseWatch } from './lease.ts';
import { afterError, afterSession, type Next } from './next.ts';
import type { AgentHandle, AgentState, ClientLogger, ConnectAgentOptions, StateChange } from './options.ts';
import { Outbox } from './outbox.ts';
import { Registration } from './registration.ts';
import { Reporter } from './reporter.ts';
import { Session, type SessionEnd } from './session.ts';
import type { SharedState } from './shared-state.ts';
import type { Tasks } from './tasks.ts';
import { backoffMs, sleep, withinMs } from './time.ts';
import type { AgentTransport } from './transport.ts';

/** Registers, attaches, and attaches again until told otherwise: the loop behind `connectAgent`. */
export class Agent implements AgentHandle {
  readonly namespace: string;
  readonly instanceId: string;
  readonly shared: SharedState;
  readonly tasks: Tasks;
  readonly closed: Promise<AgentError | undefined>;
  readonly report: AgentHandle['report'] = (report) => this.#reporter.set(report);
  readonly progress: AgentHandle['progress'] = (...given) => this.#reporter.progress(...given);
  readonly endProgress: AgentHandle['endProgress'] = (what) => this.#reporter.drop(what);
  readonly sendFrame: AgentHandle['sendFrame'] = (frame) => this.#outbox.add(frame);
  readonly send: AgentHandle['send'] = (...given) => this.#coordination.messages.send(...given);
  readonly publish: AgentHandle['publish'] = (topic, ...rest) => this.send({ topic }, ...rest);
  readonly call: AgentHandle['call'] = (...given) => this.#coordination.messages.call(...given);
  readonly subscribe: AgentHandle['subscribe'] = (...given) =>
    this.#coordination.subscriptions.subscribe(...given);
  readonly onMessage: AgentHandle['onMessage'] = (...given) =>
    this.#coordination.handlers.messages.add(...given);
  readonly onCall: AgentHandle['onCall'] = (...given) => this.#coordination.handlers.calls.add(...given);
  readonly onTask: AgentHandle['onTask'] = (...given) => this.#coordination.handlers.onTask(...given);
  readonly withLock: AgentHandle['withLock'] = (...given) => this.#coordination.locks.with(...given);
  /** Resolves with the first welcome; rejects when there will be none. */
  readonly attached: Promise<void>;
  readonly #options: ConnectAgentOptions;
  readonly #deps: AgentDeps;
  readonly #log: ClientLogger;
  readonly #timeoutMs: number;
  readonly #stop = new AbortController();
  readonly #reporter: Reporter;
  readonly #outbox: Outbox;
  readonly #desk: DeliveryDesk;
  readonly #deliveries = new FirstTurn<Delivery>((delivery) => this.#desk.take(delivery));
  readonly #registration: Registration;
  readonly #lease: LeaseWatch;
  readonly #coordination: ReturnType<typeof createCoordination>;
  readonly #mendable = (error: AgentError): boolean => this.#registration.mendable(error);
  #state: AgentState = 'connecting';
  #session: Session | undefined;
  #epoch = 0n;
  #features: readonly string[] = [];
  #maxFrameBytes = Number.POSITIVE_INFINITY;
  #leaving = false;
  /** Told to stop, and did: that the service ends the session now is no error. */
  #stopping = false;
  #attachedAt: number | undefined;
  #settleAttached: { resolve: () => void; reject: (error: AgentError) => void } | undefined;

  constructor(options: ConnectAgentOptions, deps: AgentDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#log = options.log ?? silent;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
    this.namespace = options.namespace ?? 'default';
    this.instanceId = options.instanceId ?? randomUUID();
    const { namespace } = this;
    this.#registration = new Registration({
      ...options,
      spec: specOf(options),
      namespace,
      timeoutMs: this.#timeoutMs,
    });
    this.#lease = new LeaseWatch({
      onExpired: () =>
        this.#log.warn({ agent: this.id }, 'silent for a whole lease: the agent counts as lost'),
    });
    this.#reporter = new Reporter({
      pull: options.report,
      minIntervalMs: options.reportIntervalMs ?? 1_000,
      flush: () => this.#session?.flushReport(),
      onError: (err) => this.#log.warn({ err }, 'the report callback failed; the last report stands'),
    });
    this.#outbox = new Outbox({
      prefix: this.instanceId.slice(0, 64),
      transmit: (frame) => this.#session?.send(frame),
    });
    this.#coordination = createCoordination({
      agent: this,
      handlers: options,
      session: () => ({ features: this.#features, maxFrameBytes: this.#maxFrameBytes }),
      transmit: (frame, signal) => this.#outbox.add(frame, { signal, again: mayBeRepeated }),
      timeoutMs: this.#timeoutMs,
      log: this.#log,
    });
    this.#desk = createDesk(this, options, this.#coordination, {
      stopping: () => {
        this.#stopping = true;
      },
      failed: (error, delivery) => {
        if (!this.#stop.signal.aborted) this.#log.warn({ err: error, delivery }, 'a delivery failed');
      },
    });
    this.attached = new Promise((resolve, reject) => {
      this.#settleAttached = { resolve, reject };
    });
    this.shared = this.#coordination.shared;
    this.tasks = this.#coordination.tasks;
    this.closed = this.#run();
  }

  get id(): string {
    return this.#registration.id;
  }
  get token(): string {
    return this.#registration.token;
  }
  get state(): AgentState {
    return this.#state;
  }
  get epoch(): bigint {
    return this.#epoch;
  }
  get features(): readonly string[] {
    return this.#features;
  }
  get leaseSignal(): AbortSignal {
    return this.#lease.signal;
  }

  async leave(reason = ''): Promise<void> {
    const session = this.#session;
    if (session?.open && !this.#stop.signal.aborted) {
      this.#leaving = true;
      const said = this.#outbox
        .add({ case: 'leave', value: create(LeaveSchema, { reason }) })
        .catch((error: unknown) => this.#log.warn({ err: error }, 'the goodbye was not taken'));
      await withinMs(this.#timeoutMs, [said, session.ended]);
      session.finish();
    }
    await this.close();
  }

  async close(): Promise<void> {
    this.#halt();
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave('disposed');
  }

  #halt(): void {
    this.#stop.abort();
    this.#session?.cancel(cancelled('the agent was closed'));
  }

  async #run(): Promise<AgentError | undefined> {
    const giveUp = () => this.#halt();
    this.#options.signal?.addEventListener('abort', giveUp, { once: true });
    if (this.#options.signal?.aborted) giveUp();
    this.attached.catch(() => {}).finally(() => this.#options.signal?.removeEventListener('abort', giveUp));
    let failures = 0;
    let last: AgentError | undefined;
    while (!this.#stop.signal.aborted) {
      this.#setState({ state: 'connecting' });
      const next = await this.#attempt();
      last = next.error;
      if (!next.again || this.#stop.signal.aborted) break;
      if (this.#attachedAt !== undefined && performance.now() - this.#attachedAt > 10_000) failures = 0;
      this.#attachedAt = undefined;
      const retryInMs = next.notBeforeMs + this.#backoffMs(failures++);
      this.#setState({ state: 'waiting', error: next.error, retryInMs });
      this.#log.info({ agent: this.id, retry_in_ms: retryInMs, err: next.error }, 'not connected');
      await sleep(retryInMs, this.#stop.signal);
    }
    return this.#finish(this.#stop.signal.aborted || this.#stopping ? undefined : last, last);
  }

  #backoffMs(attempt: number): number {
    const { backoffBaseMs: baseMs = 1_000, backoffCapMs: capMs = 15_000 } = this.#options;
    return backoffMs({ attempt, baseMs, capMs, random: this.#deps.random });
  }

  #finish(error: AgentError | undefined, last: AgentError | undefined): AgentError | undefined {
    const tried = last === undefined || this.#epoch !== 0n ? '' : `; the last try failed: ${last.message}`;
    const why = error ?? cancelled(`the agent is closed${tried}`);
    this.#reporter.stop();
    this.#lease.stop();
    this.#coordination.calls.close(why);
    this.#coordination.locks.close();
    this.#desk.close(why.message);
    this.#outbox.fail(why);
    this.#settleAttached?.reject(why);
    this.#setState({ state: 'closed', ...(error === undefined ? {} : { error }) });
    return error;
  }

  async #attempt(): Promise<Next> {
    let transport: AgentTransport | undefined;
    try {
      transport = this.#deps.createTransport();
      const token = await this.#registration.ensure(transport, this.#stop.signal);
      if (this.#stop.signal.aborted) return { again: false };
      const session = this.#open(transport, token);
      return this.#afterSession(await session.ended);
    } catch (error) {
      return afterError(error instanceof AgentError ? error : unexpected(error), this.#mendable);
    } finally {
      this.#session = undefined;
      this.#coordination.calls.detached();
      transport?.close();
    }
  }

  #open(transport: AgentTransport, token: string): Session {
    const session = new Session({
      transport,
      token,
      hello: helloOf(this.#options, {
        held: this.#desk.held(),
        instanceId: this.instanceId,
        report: this.#reporter.take(true),
      }),
      reporter: this.#reporter,
      welcomeTimeoutMs: this.#timeoutMs,
      hooks: {
        welcome: (welcome) => {
          this.#coordination.calls.attached({ transport, token, epoch: welcome.epoch });
          this.#welcome(welcome);
        },
        delivery: (delivery) => this.#deliveries.take(delivery),
        revoke: (revoke) => {
          this.#desk.revoke(revoke);
          this.#tell('onRevoke', () => this.#options.onRevoke?.(revoke));
        },
        result: (result) => this.#outbox.settle(result),
        heard: () => this.#lease.heard(),
        lease: (leaseMs) => this.#lease.renew(leaseMs),
      },
    });
    this.#session = session;
    return session;
  }

  #welcome(welcome: Welcome): void {
    this.#epoch = welcome.epoch;
    this.#features = welcome.features;
    this.#registration.proven();
    if (this.#registration.isNew()) this.#coordination.subscriptions.renew();
    this.#attachedAt = performance.now();
    for (const work of welcome.revoked) this.#desk.revoke({ work, reason: 'given to another while away' });
    this.#maxFrameBytes = welcome.maxFrameBytes || Number.POSITIVE_INFINITY;
    this.#outbox.resend(this.#maxFrameBytes);
    this.#setState({ state: 'connected', epoch: welcome.epoch });
    this.#log.info({ agent: this.id, epoch: String(welcome.epoch), replica: welcome.replicaId }, 'connected');
    if (this.#settleAttached === undefined) return;
    this.#settleAttached.resolve();
    this.#settleAttached = undefined;
    if (this.#deps.afterTurn !== undefined) this.#deliveries.begin(this.#deps.afterTurn);
  }

  #afterSession(end: SessionEnd): Next {
    if (this.#leaving) return { again: false };
    if (end.why === 'go_away' && end.goAway.reason === GoAway_Reason.LOST) this.#lease.expire();
    return afterSession(end, this.#mendable);
  }

  #setState(change: StateChange): void {
    this.#state = change.state;
    this.#tell('onState', () => this.#options.onState?.(change));
  }

  /** Calls back; a callback that throws must not break the session. */
  #tell(name: string, callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#log.warn({ err: error }, `the ${name} callback failed`);
    }
  }
}
