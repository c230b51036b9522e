import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Background } from '../../../lib/background.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Ids } from '../../../lib/ids.ts';
import { KeyedQueue } from '../../../lib/keyed-queue.ts';
import type { Logger } from '../../../lib/logger.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import { type Check, type Store, StoreUnavailableError } from '../../../state/store.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import type { AgentDirectory, KnownAgent } from '../directory.ts';
import type { Actor } from './actor.ts';
import type { Brakes } from './brakes.ts';
import { CARE, type CareRecords, FREEZE_KEY } from './care-records.ts';
import type { Chore } from './chore.ts';
import type { Gates } from './gates.ts';
import type { HeldLease, Leases } from './leases.ts';
import { goneMsOf, type Need, TAKES } from './needs.ts';
import { RateLimit } from './rate-limit.ts';
import type { Settling } from './settling.ts';
import type { Surveys } from './surveys.ts';
import type { Troubles } from './troubles.ts';
import { Watchlist } from './watchlist.ts';

export interface CareOptions {
  store: Store;
  directory: AgentDirectory;
  records: CareRecords;
  leases: Leases;
  settling: Settling;
  gates: Gates;
  brakes: Brakes;
  troubles: Troubles;
  surveys: Surveys;
  actor: Actor;
  events: EventWriter;
  clock: Clock;
  ids: Ids;
  background: Background;
  log: Logger;
  chores: readonly Chore[];
  /** Agents on which action is taken in a second, while a brake is set. */
  brakeRatePerSecond: number;
  quarantinesPerMinute: number;
}

/** Commits under way at a time. */
const SIDE_BY_SIDE = 16;
/** Agents that are looked at in one turn of the event loop. */
const AT_A_TIME = 500;
const MINUTE_MS = 60_000;
/** A loss that waits for nothing but its release_after is left out of the share in trouble after so long. */
const OLD_LOSS_MS = 600_000;

/** Something that is due about an agent. */
interface Due {
  known: KnownAgent;
  needs: Need[];
}

/**
 * What is done without anybody asking when agents fail: by one replica in each namespace, the holder of its lease. All of it
 * follows from what is stored, so a crash between two steps loses none; each step is one commit that fails when the lease,
 * the freeze of automation or the agent is not what it was decided on.
 */
export class Care {
  readonly #options: CareOptions;
  readonly #watchlist: Watchlist;
  readonly #queue = new KeyedQueue();
  readonly #woken = new Set<string>();
  readonly #rates = new Map<string, RateLimit>();
  #storeSinceMs: number;
  #storeAway = false;
  #leaving = false;

  constructor(options: CareOptions) {
    this.#options = options;
    this.#storeSinceMs = options.store.status().sinceMs;
    this.#watchlist = new Watchlist({
      directory: options.directory,
      onChange: (namespace) => this.#wake(namespace),
    });
    options.records.onEpoch((namespace) => options.settling.begin(namespace));
  }

  /** One round through all namespaces; call it every second. @throws StoreUnavailableError */
  async tick(): Promise<void> {
    if (this.#leaving) return;
    this.#watchStore();
    const storeMs = await this.#options.store.now();
    const namespaces = this.#options.directory.namespaces();
    for (let from = 0; from < namespaces.length; from += SIDE_BY_SIDE) {
      const some = namespaces.slice(from, from + SIDE_BY_SIDE);
      await Promise.all(some.map((namespace) => this.#tick(namespace, storeMs)));
    }
  }

  /** The fence of a namespace's lease, while this replica holds it. */
  fence(namespace: string): Check | undefined {
    return this.#options.leases.held(namespace, CARE)?.fence;
  }

  /** Lets go of every lease, so that others take over at once. */
  async leave(): Promise<void> {
    this.#leaving = true;
    await this.#options.leases.leave();
  }

  async #tick(namespace: string, storeMs: number): Promise<void> {
    const { directory, leases, log, chores } = this.#options;
    const idle = directory.count(namespace) === 0 && !chores.some((chore) => chore.hasWork?.(namespace));
    if (idle) return;
    try {
      const before = leases.held(namespace, CARE);
      const lease = before ?? (await leases.acquire(namespace, CARE));
      if (lease === undefined) {
        this.#leaveOutOld(namespace, storeMs);
        return;
      }
      if (before === undefined) this.#begin(namespace, lease);
      await this.#queue.run(namespace, () => this.#round(namespace, this.#watchlist.all(namespace), storeMs));
      await this.#doChores(namespace, storeMs);
    } catch (error) {
      if (error instanceof StoreUnavailableError) throw error;
      log.error({ namespace, err: error }, 'the care of a namespace failed; it comes again');
    }
  }

  #begin(namespace: string, { inherited, fencingToken }: HeldLease): void {
    const { settling, troubles, log } = this.#options;
    log.info({ namespace, fencing_token: `${fencingToken}` }, 'this replica looks after a namespace now');
    // Where nobody was before and nobody fails, nothing has to be collected.
    if (inherited || troubles.of(namespace).failing > 0) settling.begin(namespace);
    else settling.end(namespace);
  }

  /** Agents that could not reach a store that was away are collected anew before anything is taken from them. */
  #watchStore(): void {
    const { store, leases, settling, directory } = this.#options;
    const { available, sinceMs } = store.status();
    const returned = available && (this.#storeAway || sinceMs !== this.#storeSinceMs);
    this.#storeAway = !available;
    this.#storeSinceMs = sinceMs;
    if (!returned) return;
    leases.listenAnew();
    for (const namespace of directory.namespaces()) settling.begin(namespace);
  }

  /** Something changed: what is due because of it is done at once, and not at the next round. */
  #wake(namespace: string): void {
    if (this.#woken.has(namespace) || this.#leaving || this.fence(namespace) === undefined) return;
    this.#woken.add(namespace);
    this.#options.background.run('care', async () => {
      await new Promise((resolve) => setImmediate(resolve));
      await this.#queue.run(namespace, async () => {
        this.#woken.delete(namespace);
        const { store } = this.#options;
        if (!store.status().available || this.fence(namespace) === undefined) return;
        try {
          const changed = this.#watchlist.takeChanged(namespace);
          await this.#round(namespace, changed, await store.now(), true);
        } catch (error) {
          if (!(error instanceof StoreUnavailableError)) throw error;
        }
      });
    });
  }

  /** @param hurried it looks at some agents only: what goes on at a rate waits for the round that sees all. */
  async #round(namespace: string, agentIds: string[], storeMs: number, hurried = false): Promise<void> {
    const { settling, brakes, leases } = this.#options;
    const fence = this.fence(namespace);
    if (fence === undefined || this.#leaving) return;
    const collecting = settling.remainingMs(namespace) > 0;
    const kept = await brakes.keep(namespace, fence, storeMs, collecting);
    if (kept === 'refused') {
      leases.refused(namespace, CARE);
      return;
    }
    if (await this.#isFrozen(namespace, fence, storeMs)) return;
    const { open, limited } = await this.#due(namespace, agentIds, storeMs);
    await this.#act(namespace, open, fence, storeMs);
    if (hurried || limited.length === 0) return;
    await this.#act(namespace, this.#some(namespace, limited), fence, storeMs);
  }

  /** Whether automatic action is frozen; a freeze whose time has passed is taken back. */
  async #isFrozen(namespace: string, fence: Check, storeMs: number): Promise<boolean> {
    const { records, store, events } = this.#options;
    const freeze = records.freeze(namespace);
    if (freeze === undefined) return false;
    const { endTime, actor } = freeze.record;
    if (endTime === undefined || msFromTimestamp(endTime) > storeMs) return true;
    const event = events.append({
      type: 'automation.enabled',
      severity: Event_Severity.INFO,
      message: `automatic action goes on: the time for which ${actor} had frozen it is over`,
      actor: 'rule:freeze_expired',
    });
    await store.commit({
      namespace,
      checks: [fence, { key: FREEZE_KEY, revision: freeze.revision }],
      deletes: [FREEZE_KEY],
      appends: [event],
    });
    // From when the view has heard of it.
    return true;
  }

  async #due(
    namespace: string,
    agentIds: readonly string[],
    storeMs: number,
  ): Promise<{ open: Due[]; limited: Due[] }> {
    const { directory, gates, surveys } = this.#options;
    const found: { open: Due[]; limited: Due[] } = { open: [], limited: [] };
    let quarantines =
      this.#options.quarantinesPerMinute - surveys.quarantinedSince(namespace, storeMs - MINUTE_MS);
    for (const [index, id] of agentIds.entries()) {
      // After a mass failure there are many: pings go on meanwhile.
      if (index % AT_A_TIME === AT_A_TIME - 1) await new Promise((resolve) => setImmediate(resolve));
      const known = directory.get(namespace, id);
      if (known === undefined) continue;
      const needs = surveys.needs(known, storeMs);
      if (this.#isOldLoss(known, needs, storeMs)) this.#options.troubles.leaveOut(known);
      const due = needs.filter((need) => surveys.isDue(known, need, storeMs));
      const free = due.filter(({ kind }) => !TAKES.has(kind));
      const taking = due.filter(({ kind }) => TAKES.has(kind));
      if (taking.some(({ kind }) => kind === 'quarantine') && quarantines <= 0) {
        taking.splice(0, taking.length, ...taking.filter(({ kind }) => kind !== 'quarantine'));
      }
      const gate = taking.length === 0 ? undefined : gates.of(known, storeMs);
      if (gate?.kind === 'open' && taking.some(({ kind }) => kind === 'quarantine')) quarantines -= 1;
      const now = gate?.kind === 'open' ? [...free, ...taking] : free;
      if (now.length > 0) found.open.push({ known, needs: now });
      else if (gate?.kind === 'limited') found.limited.push({ known, needs: taking });
    }
    return found;
  }

  /** Also where another replica has the lease: the evidence of verdicts here, and brakes elsewhere, count all namespaces. */
  #leaveOutOld(namespace: string, storeMs: number): void {
    const { directory, surveys, troubles } = this.#options;
    for (const id of this.#watchlist.all(namespace)) {
      const known = directory.get(namespace, id);
      if (known === undefined || !isLongGone(known, storeMs)) continue;
      if (this.#isOldLoss(known, surveys.needs(known, storeMs), storeMs)) troubles.leaveOut(known);
    }
  }

  /** Its work is kept for it for longer than failures that have to do with each other can be apart. */
  #isOldLoss(known: KnownAgent, needs: readonly Need[], storeMs: number): boolean {
    const handling = needs.find(({ kind }) => kind === 'handle_loss');
    if (handling === undefined || handling.dueMs <= storeMs) return false;
    return isLongGone(known, storeMs) && this.#options.records.brakes(known.namespace) === undefined;
  }

  /** As many as the rate allows, at random: a wrong guess hits no group of agents harder than another. */
  #some(namespace: string, limited: Due[]): Due[] {
    const { clock, ids, brakeRatePerSecond } = this.#options;
    const nowMs = clock.monoMs();
    const rate = this.#rates.get(namespace) ?? new RateLimit({ perSecond: brakeRatePerSecond, nowMs });
    this.#rates.set(namespace, rate);
    const taken: Due[] = [];
    while (limited.length > 0 && rate.take(nowMs)) {
      taken.push(...limited.splice(Math.floor(ids.random() * limited.length), 1));
    }
    return taken;
  }

  async #act(namespace: string, due: readonly Due[], fence: Check, storeMs: number): Promise<void> {
    const { actor, leases, log } = this.#options;
    for (let from = 0; from < due.length; from += SIDE_BY_SIDE) {
      const results = await Promise.all(
        due.slice(from, from + SIDE_BY_SIDE).map(async ({ known, needs }) => {
          try {
            return await actor.act(known, needs, fence, storeMs);
          } catch (error) {
            if (error instanceof StoreUnavailableError) throw error;
            log.error({ namespace, agent: known.id, err: error }, 'care of an agent failed; it comes again');
            return 'changed';
          }
        }),
      );
      if (results.includes('refused')) leases.refused(namespace, CARE);
      if (results.includes('refused') || results.includes('frozen')) return;
    }
  }

  async #doChores(namespace: string, storeMs: number): Promise<void> {
    for (const chore of this.#options.chores) {
      const fence = this.fence(namespace);
      if (fence === undefined || this.#leaving) return;
      try {
        await chore.run({ namespace, fence, storeMs });
      } catch (error) {
        if (error instanceof StoreUnavailableError) throw error;
        this.#options.log.error(
          { namespace, chore: chore.name, err: error },
          'a chore failed; it comes again',
        );
      }
    }
  }
}

const isLongGone = ({ record }: KnownAgent, storeMs: number): boolean =>
  goneMsOf(record) + OLD_LOSS_MS <= storeMs;
