import {
  AgentOutcome_State,
  type Operation,
  Operation_State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { Background } from '../../../lib/background.ts';
import { msFromDuration, timestampFromMs } from '../../../lib/proto-time.ts';
import { type Check, type Store, StoreUnavailableError } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import type { Mailboxes } from '../mailboxes.ts';
import type { CommandGiver } from './command-giver.ts';
import { copyOperation, operationEvent } from './operation-change.ts';
import { meanHealth } from './operation-health.ts';
import { encodeOperation, operationKey } from './operation-record.ts';
import {
  countsOf,
  countWords,
  decideNext,
  type Next,
  nameFailed,
  type Progress,
  progressOf,
} from './operation-rules.ts';
import type { KnownOperation, OperationView } from './operation-view.ts';
import { Watched } from './operation-watched.ts';
import { type Settlement, settlements } from './settle.ts';

export interface OperationRunnerOptions {
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  view: OperationView;
  giver: CommandGiver;
  events: EventWriter;
  background: Background;
  /** Resolves once the views of this replica show a revision, or after a while. */
  seen(namespace: string, revision: bigint): Promise<void>;
  /** The health score of an agent, 0 to 1; undefined: nothing was measured yet. */
  health(known: KnownAgent): number | undefined;
}

/** Agents whose news one commit holds. */
const SETTLED_AT_ONCE = 64;
/** Commands given in one step of an operation, and side by side. */
const GIVEN_AT_ONCE = 128;
const SIDE_BY_SIDE = 16;

type Step = 'moved' | 'still' | 'fenced';

/**
 * Runs operations: at the replica that holds the lease of care, driven by what changes in its views and by the clock. All
 * that it goes by is stored, and each of its commits fails once another replica holds the lease: whoever takes over goes on.
 */
export class OperationRunner implements Chore {
  readonly name = 'fleet operations';
  readonly #options: OperationRunnerOptions;
  readonly #fences = new Map<string, Check>();
  readonly #driving = new Set<string>();
  readonly #woken = new Set<string>();
  readonly #watched = new Watched();

  constructor(options: OperationRunnerOptions) {
    this.#options = options;
    options.view.listen((namespace) => this.#wake(namespace));
    options.mailboxes.listen((namespace, agentId) => {
      if (this.#watched.has(namespace, agentId)) this.#wake(namespace);
    });
    options.directory.listen({
      changed: (before, after) => {
        const agent = after ?? before;
        if (agent !== undefined && this.#watched.has(agent.namespace, agent.id)) this.#wake(agent.namespace);
      },
    });
  }

  hasWork(namespace: string): boolean {
    return this.#options.view.isBusy(namespace);
  }

  /** Not awaited: a large operation must not hold up the care of agents. */
  async run({ namespace, fence }: ChoreContext): Promise<void> {
    this.#fences.set(namespace, fence);
    this.#wake(namespace);
  }

  #wake(namespace: string): void {
    if (!this.#fences.has(namespace) || !this.#options.view.isBusy(namespace)) return;
    this.#woken.add(namespace);
    if (this.#driving.has(namespace)) return;
    this.#driving.add(namespace);
    this.#options.background.run('fleet operations', async () => {
      try {
        await this.#drive(namespace);
      } catch (error) {
        // The chore comes again.
        if (!(error instanceof StoreUnavailableError)) throw error;
      } finally {
        this.#driving.delete(namespace);
      }
    });
  }

  async #drive(namespace: string): Promise<void> {
    const { view, seen } = this.#options;
    while (this.#woken.delete(namespace)) {
      const fence = this.#fences.get(namespace);
      if (fence === undefined) return;
      // Whoever held the lease before stored nothing after it changed hands.
      await seen(namespace, fence.revision);
      for (const operation of view.underway(namespace)) {
        const step = await this.#step(operation, fence);
        if (step === 'moved') this.#woken.add(namespace);
        if (step !== 'fenced') continue;
        if (this.#fences.get(namespace) === fence) this.#fences.delete(namespace);
        return;
      }
      this.#watched.set(namespace, view.underway(namespace));
      // What changed between a step and this was not watched yet.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #step(operation: KnownOperation, fence: Check): Promise<Step> {
    const { directory, mailboxes, storeTime, health } = this.#options;
    const storeMs = storeTime.ms();
    const news = [...settlements(operation, { directory, mailboxes, storeMs })];
    if (news.length > 0) return this.#settle(operation, news, fence);
    const picture = { record: operation.record, agents: operation.who.length, outcomes: operation.outcomes };
    const progress = progressOf(picture);
    const mean = meanHealth(operation, directory, health);
    const next = decideNext(picture, progress, { health: mean?.score, storeMs });
    switch (next.kind) {
      case 'wait':
        return 'still';
      case 'order':
        return this.#order(operation, next.places.slice(0, GIVEN_AT_ONCE), fence, storeMs);
      default:
        return this.#change(operation, next, progress, mean?.words ?? '', fence, storeMs);
    }
  }

  async #settle(operation: KnownOperation, news: readonly Settlement[], fence: Check): Promise<Step> {
    const { store, seen } = this.#options;
    const { namespace } = operation;
    for (let from = 0; from < news.length; from += SETTLED_AT_ONCE) {
      const some = news.slice(from, from + SETTLED_AT_ONCE);
      const outcome = await store.commit({
        namespace,
        checks: [fence, ...some.flatMap(({ checks }) => checks)],
        puts: some.flatMap(({ puts }) => puts),
        deletes: some.flatMap(({ deletes }) => deletes),
      });
      if (outcome.kind === 'conflict') {
        if (outcome.key === fence.key) return 'fenced';
        // The view lags behind the store: soon there is other news.
        await pause();
      } else {
        await seen(namespace, outcome.revision);
      }
    }
    return 'moved';
  }

  async #order(
    operation: KnownOperation,
    places: readonly number[],
    fence: Check,
    storeMs: number,
  ): Promise<Step> {
    const { giver, seen } = this.#options;
    for (let from = 0; from < places.length; from += SIDE_BY_SIDE) {
      const given = await Promise.all(
        places.slice(from, from + SIDE_BY_SIDE).map((place) => giver.give(operation, place, fence, storeMs)),
      );
      let newest = 0n;
      for (const each of given) {
        if (each.kind === 'fenced') return 'fenced';
        if (each.kind === 'given' && each.revision > newest) newest = each.revision;
      }
      if (newest > 0n) await seen(operation.namespace, newest);
      if (!given.some(({ kind }) => kind === 'outdated')) continue;
      await pause();
      break;
    }
    return 'moved';
  }

  /** The operation itself changes: a wave is over, it stops or it ends. */
  async #change(
    known: KnownOperation,
    next: Exclude<Next, { kind: 'wait' | 'order' }>,
    progress: Progress,
    health: string,
    fence: Check,
    storeMs: number,
  ): Promise<Step> {
    const { store, events, seen } = this.#options;
    const { namespace, id } = known;
    const { record, operation } = copyOperation(known.record);
    const news = apply(next, { operation, known, progress, health, storeMs });
    const appends = news.map((each) =>
      events.append(operationEvent({ ...each, id, operation, actor: 'rule:operations' })),
    );
    const key = operationKey(id);
    const outcome = await store.commit({
      namespace,
      checks: [fence, { key, revision: known.revision }],
      puts: [{ key, value: encodeOperation(record) }],
      appends,
    });
    if (outcome.kind === 'committed') await seen(namespace, outcome.revision);
    else if (outcome.kind === 'conflict' && outcome.key === fence.key) return 'fenced';
    else await pause();
    return 'moved';
  }
}

/** Changes the operation; returns what is to be told. */
function apply(
  next: Exclude<Next, { kind: 'wait' | 'order' }>,
  given: { operation: Operation; known: KnownOperation; progress: Progress; health: string; storeMs: number },
): { type: string; message: string; attributes?: Record<string, string> }[] {
  const { operation, known, progress, health, storeMs } = given;
  const counts = countWords(progress);
  const failed = nameFailed(known);
  if (next.kind === 'stop') {
    operation.state = Operation_State.STOPPED;
    operation.detail =
      next.why === 'health'
        ? health
        : `${progress.failed} failed, more than ${known.record.maxErrors}: ${failed}`;
    const message = `the operation "${operation.spec?.command}" stopped in wave ${operation.wave}: ${operation.detail} (${counts})`;
    return [{ type: 'operation.stopped', message }];
  }
  if (next.kind === 'wave') {
    operation.wave = next.next;
    delete operation.nextWaveTime;
    if (next.over === undefined) return [];
    const { wavePause } = operation.spec ?? {};
    if (wavePause !== undefined)
      operation.nextWaveTime = timestampFromMs(storeMs + msFromDuration(wavePause));
    const message = `wave ${next.over} of ${operation.waves} of the operation "${operation.spec?.command}" is over: ${counts}`;
    return [{ type: 'operation.wave_done', message, attributes: { wave: `${next.over}` } }];
  }
  const last = { type: 'operation.wave_done', attributes: { wave: `${operation.wave}` } };
  operation.state = next.state;
  operation.endTime = timestampFromMs(storeMs);
  operation.counts = countsOf(progress);
  delete operation.nextWaveTime;
  const some = progress.counts.has(AgentOutcome_State.FAILED) && failed !== '' ? `; failed: ${failed}` : '';
  if (next.state !== Operation_State.CANCELLED) operation.detail = `${counts}${some}`;
  const ended = `the operation "${operation.spec?.command}" has ended: ${counts}${some}`;
  const message = `wave ${operation.wave} of ${operation.waves} of the operation "${operation.spec?.command}" is over: ${counts}`;
  const end = {
    type: 'operation.ended',
    message: ended,
    attributes: { state: STATE_WORDS[next.state] ?? '' },
  };
  return next.state === Operation_State.CANCELLED ? [end] : [{ ...last, message }, end];
}

const STATE_WORDS: Partial<Record<Operation_State, string>> = {
  [Operation_State.SUCCEEDED]: 'succeeded',
  [Operation_State.COMPLETED_WITH_ERRORS]: 'completed_with_errors',
  [Operation_State.CANCELLED]: 'cancelled',
};

/** Before looking again at what the view does not show yet, milliseconds. */
const LAG_MS = 20;
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, LAG_MS));
