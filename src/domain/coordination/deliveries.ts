import type { Work } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type {
  DeliveryUpdate,
  Payload,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { Background } from '../../lib/background.ts';
import type { Clock } from '../../lib/clock.ts';
import { DomainError } from '../../lib/errors.ts';
import { KeyedQueue } from '../../lib/keyed-queue.ts';
import type { Logger } from '../../lib/logger.ts';
import { msFromTimestamp } from '../../lib/proto-time.ts';
import type { TimingWheel } from '../../lib/timing-wheel.ts';
import type { MergedCommits } from '../../state/merged-commits.ts';
import { type Check, type CommitOutcome, StoreUnavailableError } from '../../state/store.ts';
import type { StoreTime } from '../../state/store-time.ts';
import type { Views } from '../../state/views.ts';
import type { AgentDirectory } from '../agent/directory.ts';
import { notStoredYet, superseded } from '../agent/errors.ts';
import { loadAgent } from '../agent/load.ts';
import type { SelfWatch } from '../agent/observer.ts';
import type { Session } from '../agent/session.ts';
import { type DeliveryLine, DeliveryPump, type Stored } from './delivery-pump.ts';
import { encodeDelivery, mailKey, putDeadLetter } from './delivery-record.ts';
import { adopted, claimed, decideUpdate, rewritten } from './delivery-rules.ts';
import { loadDelivery } from './load-delivery.ts';
import type { KnownDelivery, Mailboxes } from './mailboxes.ts';
import { decodePayload } from './messages/message-record.ts';
import type { MessageTracing } from './messages/message-tracing.ts';
import { OutcomeCommits, type OutcomeCommitsOptions, stateOf } from './outcome-commits.ts';
import type { OutcomeState } from './outcomes.ts';
import type { TaskOutcomes } from './tasks/task-outcomes.ts';
import type { TaskReturns } from './tasks/task-returns.ts';

export interface DeliveriesOptions extends Omit<OutcomeCommitsOptions, 'tasks'> {
  tasks: Pick<TaskOutcomes, 'effects' | 'saidBefore' | 'whyWithdrawn'>;
  returns: Pick<TaskReturns, 'concerns' | 'returned'>;
  /** For what comes at a high rate. */
  merged: MergedCommits;
  storeTime: StoreTime;
  views: Views;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  background: Background;
  clock: Clock;
  wheel: TimingWheel;
  self: SelfWatch;
  log: Logger;
  metrics: { delivery(outcome: string, item: string, latencyMs: number): void };
  tracing?: Pick<MessageTracing, 'settled'> | undefined;
}

/** Why a delivery is given up that nobody answered. */
type GivenUp = 'expired' | 'tries' | 'agent_gone';

const ATTEMPTS = 16;
/** How long a view may take to show what was committed. */
const VIEW_MS = 2000;
/** Pause after somebody else was faster. */
const LAG_MS = 50;
/** Pause after the store refused what a pump wanted. */
const PAUSE_MS = 1000;

/** The one delivery path: from the mailboxes down the sessions of this replica, and the agents' answers back. */
export class Deliveries {
  readonly #options: DeliveriesOptions;
  readonly #pumps = new Map<string, DeliveryPump>();
  readonly #queue = new KeyedQueue();
  readonly #outcomes: OutcomeCommits;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
    this.#outcomes = new OutcomeCommits(options);
    options.mailboxes.listen((namespace, agentId) => this.wake(namespace, agentId));
  }

  /**
   * Compares what an agent says it holds with its mailbox.
   * @param revision at which it attached: what other replicas stored before must be known here first
   */
  async reconcile(
    session: Session,
    held: readonly Work[],
    revision: bigint,
  ): Promise<{ kept: Map<string, bigint>; revoked: Work[] }> {
    const { views, mailboxes, returns } = this.#options;
    const kept = new Map<string, bigint>();
    const { namespace, agentId } = session;
    if (held.length === 0 && !returns.concerns(namespace, agentId)) return { kept, revoked: [] };
    await views.waitFor(namespace, revision, VIEW_MS);
    const revoked: Work[] = [];
    for (const work of held) {
      const known = mailboxes.get(namespace, agentId, work.deliveryId);
      if (known !== undefined && known.record.attempt === work.attempt) kept.set(known.id, work.attempt);
      else revoked.push(work);
    }
    await returns.returned(namespace, agentId, kept);
    return { kept, revoked };
  }

  /** A session was welcomed: its deliveries begin. */
  began(session: Session, line: DeliveryLine, maxInFlight: number, held: ReadonlyMap<string, bigint>): void {
    const key = keyOf(session.namespace, session.agentId);
    this.#pumps.get(key)?.end();
    const { mailboxes, background, clock, wheel, self, storeTime } = this.#options;
    const pump = new DeliveryPump({
      session,
      line,
      maxInFlight: Math.max(1, maxInFlight),
      held,
      mailboxes,
      background,
      clock,
      wheel,
      self,
      storeMs: () => storeTime.ms(),
      store: (...step) => this.#take(...step),
      payload: (known) => this.#payload(known),
      whyGone: (id) => this.#options.tasks.whyWithdrawn(session.namespace, id),
    });
    this.#pumps.set(key, pump);
    pump.wake();
  }

  /** A session is over: what it holds waits for the next one. */
  ended(session: Session): void {
    const key = keyOf(session.namespace, session.agentId);
    const pump = this.#pumps.get(key);
    if (pump === undefined || pump.session !== session) return;
    pump.end();
    this.#pumps.delete(key);
  }

  /** Something changed that may let deliveries of this agent go on: news, or room on its stream. */
  wake(namespace: string, agentId: string): void {
    this.#pumps.get(keyOf(namespace, agentId))?.wake();
  }

  /** Whether this attempt was sent to the agent in its present session here. */
  isWithAgent(known: KnownDelivery): boolean {
    const pump = this.#pumps.get(keyOf(known.namespace, known.agentId));
    return pump?.isWithAgent(known.id, known.record.attempt) ?? false;
  }

  /**
   * Stores what an agent says of a delivery. Resolves when that is stored; saying the same again is fine.
   * @throws DomainError DELIVERY_UNKNOWN, ATTEMPT_STALE, SESSION_SUPERSEDED, CONTENTION (also where the store fell
   *   back to before this session and is being told of it again); StoreUnavailableError
   */
  update(session: Session, update: DeliveryUpdate): Promise<void> {
    const id = update.work?.deliveryId ?? '';
    // In the order in which the agent said it.
    return this.#queue.run(`${session.namespace}/${session.agentId}/${id}`, () =>
      this.#updateInTurn(session, id, update),
    );
  }

  async #updateInTurn(session: Session, id: string, update: DeliveryUpdate): Promise<void> {
    const pump = this.#pumps.get(keyOf(session.namespace, session.agentId));
    if (pump?.session === session && pump.isOver(id, update.work?.attempt ?? 0n, update.state)) return;
    const release = pump?.hold(id, update.work?.attempt ?? 0n, update.state);
    let result: Stored = 'unchanged';
    try {
      result = await this.#update(session, id, update);
    } finally {
      release?.(result);
    }
  }

  async #update(session: Session, id: string, update: DeliveryUpdate): Promise<Stored> {
    const { store, merged, mailboxes, storeTime, views } = this.#options;
    const { namespace, agentId } = session;
    const requestId = `delivery/${id}/${update.work?.attempt}/${update.state}`;
    let known = mailboxes.get(namespace, agentId, id);
    let agent = this.#options.directory.get(namespace, agentId);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      known ??= await loadDelivery(store, namespace, agentId, id);
      if (known === undefined) {
        if (await this.#options.tasks.saidBefore(namespace, id, update.state)) return 'over';
        if ((await store.getRequest(namespace, requestId)) !== undefined) return 'over';
        throw unknownDelivery(id);
      }
      if (agent === undefined || agent.record.sessionEpoch < session.epoch) {
        agent = await loadAgent(store, namespace, agentId);
      }
      if (agent === undefined || agent.record.sessionEpoch < session.epoch) throw notStoredYet();
      if (agent.record.sessionEpoch !== session.epoch) throw superseded();
      const storeMs = storeTime.ms();
      const outcome = decideUpdate(known, update, storeMs);
      // Of messages and tasks there are many: who says again in another session what became of one hears that it is not there,
      // or finds it in the task.
      const isMany = known.record.item.case !== 'command';
      const { refusal, ...commit } = await this.#outcomes.commit({
        known,
        outcome,
        input: { known, state: stateOf(outcome, update), update, agent, subject: undefined, storeMs },
        requestId: isMany ? undefined : requestId,
        again: attempt > 0,
      });
      const stored = isMany ? await merged.commit(namespace, () => commit) : await store.commit(commit);
      if (stored.kind !== 'conflict' && refusal !== undefined) {
        await views.waitFor(namespace, stored.revision, VIEW_MS).catch(() => {});
        throw refusal;
      }
      if (stored.kind !== 'conflict') {
        this.#count(stateOf(outcome, update), known, storeMs);
        if (outcome.kind !== 'accepted') this.#traced(known, stateOf(outcome, update), storeMs);
        await views.waitFor(namespace, stored.revision, VIEW_MS).catch(() => {});
        return outcome.kind;
      }
      known = await loadDelivery(store, namespace, agentId, id);
      agent = await loadAgent(store, namespace, agentId);
    }
    throw new DomainError({
      reason: ErrorReason.CONTENTION,
      message: `delivery ${id} was changed concurrently again and again`,
      retryAfterMs: 500,
    });
  }

  /**
   * Gives a delivery up: a dead letter takes its place. False: somebody else changed it meanwhile.
   * @param fence a further check: that the caller still holds its lease
   */
  async giveUp(known: KnownDelivery, reason: GivenUp, fence?: Check): Promise<boolean> {
    return (await this.#giveUp(known, reason, fence)).kind === 'committed';
  }

  async #giveUp(known: KnownDelivery, reason: GivenUp, fence?: Check): Promise<CommitOutcome> {
    const { store, storeTime, directory } = this.#options;
    const storeMs = storeTime.ms();
    const agent = directory.get(known.namespace, known.agentId);
    const { refusal: _, ...commit } = await this.#outcomes.commit({
      known,
      outcome: { kind: 'over', state: 'failed', dead: reason === 'tries' ? 'tries' : undefined },
      input: { known, state: reason, update: undefined, agent, subject: undefined, storeMs },
      requestId: undefined,
      again: true,
    });
    const { record } = known;
    // Of a call its caller is told, and a task knows it: nobody waits for it later.
    const isTold = record.wantsAnswer || record.item.case === 'task';
    const letter = isTold ? [] : [putDeadLetter(rewritten(known), reason, '', storeMs)];
    const checks = [...(commit.checks ?? []), ...(fence === undefined ? [] : [fence])];
    const outcome = await store.commit({ ...commit, checks, puts: [...(commit.puts ?? []), ...letter] });
    if (outcome.kind === 'committed') {
      this.#count(reason, known, storeMs);
      this.#traced(known, reason, storeMs);
    }
    return outcome;
  }

  #traced({ namespace, agentId, id, record }: KnownDelivery, state: string, storeMs: number): void {
    const { tracing, clock } = this.#options;
    if (tracing === undefined || record.traceparent === '') return;
    const sentMs = this.#pumps.get(keyOf(namespace, agentId))?.sentMs(id);
    const createMs = record.createTime === undefined ? storeMs : msFromTimestamp(record.createTime);
    const elapsedMs = sentMs === undefined ? storeMs - createMs : clock.monoMs() - sentMs;
    tracing.settled(record, state, Math.max(0, elapsedMs));
  }

  #count(outcome: OutcomeState, { record }: KnownDelivery, storeMs: number): void {
    const { item, createTime } = record;
    const latencyMs = createTime === undefined ? 0 : Math.max(0, storeMs - msFromTimestamp(createTime));
    this.#options.metrics.delivery(outcome, item.case ?? 'unknown', latencyMs);
  }

  /** The payload that a delivery refers to; undefined: it is gone. */
  async #payload({ namespace, record }: KnownDelivery): Promise<Payload | undefined> {
    const { store, log } = this.#options;
    try {
      const entry = await store.get(namespace, record.payloadKey);
      return entry && decodePayload(entry.value);
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) log.warn({ err: error }, 'a payload could not be read');
      throw error;
    }
  }

  #hand(session: Session, known: KnownDelivery, step: 'claim' | 'adopt'): Promise<CommitOutcome> {
    const { store, merged } = this.#options;
    const { epoch } = store.status();
    const record =
      step === 'claim'
        ? claimed(known, session.epoch, epoch, this.isWithAgent(known))
        : adopted(known, session.epoch);
    const key = mailKey(known.agentId, known.id);
    return merged.commit(known.namespace, () => ({
      epoch,
      checks: [{ key, revision: known.revision }],
      puts: [{ key, value: encodeDelivery(record) }],
    }));
  }

  /** @returns the pause before anything else is tried, milliseconds */
  async #take(session: Session, known: KnownDelivery, step: 'claim' | 'adopt' | 'give_up'): Promise<number> {
    const { views, log } = this.#options;
    try {
      const outcome =
        step === 'give_up' ? await this.#giveUp(known, 'tries') : await this.#hand(session, known, step);
      // The view lags behind; until it does not, the same would come out again.
      if (outcome.kind === 'conflict') return LAG_MS;
      await views.waitFor(known.namespace, outcome.revision, VIEW_MS);
      return 0;
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) {
        log.warn(
          { agent: known.agentId, delivery: known.id, err: error },
          'a delivery could not be handed out',
        );
      }
      return PAUSE_MS;
    }
  }
}

const keyOf = (namespace: string, agentId: string): string => `${namespace}/${agentId}`;

const unknownDelivery = (id: string): DomainError =>
  new DomainError({
    reason: ErrorReason.DELIVERY_UNKNOWN,
    message: `no delivery ${id} is with this agent; it is finished, cancelled or was never its own`,
  });
