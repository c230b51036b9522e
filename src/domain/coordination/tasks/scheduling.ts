import type { Observation } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { ChangeBatch } from '../../../state/store.ts';
import { type Check, StoreUnavailableError } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import type { HeldLease, Leases } from '../../agent/care/leases.ts';
import type { KnownAgent } from '../../agent/directory.ts';
import { amountsOf } from '../../resource/amounts.ts';
import { Ledger, type LedgerOptions } from '../../resource/ledger.ts';
import type { QuotaView } from '../../resource/quotas/quota-view.ts';
import { Duties } from './duties.ts';
import { itemOfAllocation } from './items.ts';
import { NamespaceScheduler } from './namespace-scheduler.ts';
import type { SchedulerPorts } from './scheduler-ports.ts';

/** The duty of placing work: its holder alone gives places in a namespace. */
export const SCHEDULE = 'schedule';

export interface SchedulingOptions extends Omit<SchedulerPorts, 'fence' | 'refused'> {
  leases: Leases;
  ledger: LedgerOptions;
  quotas: QuotaView;
  /** What was measured of an agent last. */
  observed(known: KnownAgent): Observation | undefined;
}

interface Namespace {
  ledger: Ledger;
  scheduler: NamespaceScheduler;
  duties: Duties;
  /** The lease under which everything was looked at. */
  lease: HeldLease | undefined;
  acquiring: boolean;
  /** Its duties are under way. */
  attending: boolean;
  /** When a lease may be asked for again, monotonic. */
  acquireMs: number;
}

/** How often the load of agents is taken from what they report. */
const LOADS_MS = 1000;
const ACQUIRE_PAUSE_MS = 500;

/**
 * The ledgers and schedulers of all namespaces. It is a view, and must come after all others that it is made of: when a
 * namespace is read anew it is made anew.
 */
export class Scheduling implements View {
  readonly #options: SchedulingOptions;
  readonly #namespaces = new Map<string, Namespace>();
  #loadsMs = 0;
  #leaving = false;
  #storeSinceMs: number;

  constructor(options: SchedulingOptions) {
    this.#options = options;
    this.#storeSinceMs = options.store.status().sinceMs;
    const { directory, tasks, allocations, quotas } = options;
    directory.listen({
      changed: (before, after) => {
        const known = after ?? before;
        if (known === undefined) return;
        const { ledger, duties } = this.#of(known.namespace);
        ledger.agentChanged(known.id, after);
        duties.agentChanged(before, after);
      },
    });
    tasks.listen({
      changed: (before, after) => {
        const known = after ?? before;
        if (known === undefined) return;
        const { ledger, scheduler, duties } = this.#of(known.namespace);
        ledger.taskChanged(before, after);
        scheduler.taskChanged(before, after);
        duties.taskChanged(before, after);
        this.#want(known.namespace);
      },
      replaced: () => {},
    });
    allocations.listen({
      changed: (before, after) => {
        const known = after ?? before;
        if (known === undefined) return;
        const { ledger, scheduler } = this.#of(known.namespace);
        ledger.allocationChanged(before, after);
        const item = after && itemOfAllocation(after, options.config.agingMs);
        scheduler.allocationChanged(`alloc/${known.id}`, item);
        this.#want(known.namespace);
      },
      replaced: () => {},
    });
    quotas.listen({
      changed: (before, after) => {
        const known = after ?? before;
        if (known === undefined) return;
        const { namespace, owner, revision } = known;
        this.#of(namespace).ledger.quotaChanged(owner, after?.record, revision);
      },
      replaced: () => {},
    });
  }

  /** Whoever names a namespace that is not there gets an empty one, and leaves nothing behind. */
  ledger(namespace: string): Ledger {
    return (this.#namespaces.get(namespace) ?? this.#make(namespace)).ledger;
  }

  /** As `ledger`. */
  scheduler(namespace: string): NamespaceScheduler {
    return (this.#namespaces.get(namespace) ?? this.#make(namespace)).scheduler;
  }

  /** While this replica gives places in a namespace, and has seen all that was stored before it began: its fence. */
  fence(namespace: string): Check | undefined {
    const lease = this.#options.leases.held(namespace, SCHEDULE);
    if (lease === undefined) return undefined;
    const seen = this.#options.views.position(namespace).revision >= lease.fence.revision;
    return seen ? lease.fence : undefined;
  }

  reset(namespace: string): void {
    const before = this.#namespaces.get(namespace);
    before?.scheduler.close();
    before?.duties.close();
    // What is under way would not be known to a new ledger: under a new lease it is refused, or was stored before that.
    if (before !== undefined) this.#options.leases.refused(namespace, SCHEDULE);
    this.#namespaces.delete(namespace);
    const { directory, tasks, allocations, quotas, config } = this.#options;
    const some = directory.count(namespace) > 0 || tasks.count(namespace) > 0;
    const others = [...allocations.all(namespace), ...quotas.all(namespace)];
    if (before === undefined && !some && others.length === 0) return;
    const made = this.#of(namespace);
    for (const known of directory.all(namespace)) made.ledger.agentChanged(known.id, known);
    for (const { owner, record, revision } of quotas.all(namespace))
      made.ledger.quotaChanged(owner, record, revision);
    for (const known of allocations.all(namespace)) made.ledger.allocationChanged(undefined, known);
    for (const known of tasks.all(namespace)) made.ledger.taskChanged(undefined, known);
    for (const known of allocations.all(namespace)) {
      const item = itemOfAllocation(known, config.agingMs);
      if (item !== undefined) made.scheduler.allocationChanged(item.key, item);
    }
    for (const known of tasks.all(namespace)) {
      made.scheduler.taskChanged(undefined, known);
      made.duties.taskChanged(undefined, known);
    }
    this.#want(namespace);
  }

  /** After each commit: what waited for the view may go on. */
  apply({ namespace }: ChangeBatch): void {
    const found = this.#namespaces.get(namespace);
    if (found !== undefined) this.#begin(namespace, found);
  }

  /** Call it ten times a second. Duties go on in the background: a slow namespace delays no other. */
  tick(): void {
    if (this.#leaving) return;
    const { clock, storeTime } = this.#options;
    this.#watchStore();
    const nowMs = storeTime.ms();
    const takeLoads = clock.monoMs() - this.#loadsMs >= LOADS_MS;
    if (takeLoads) this.#loadsMs = clock.monoMs();
    for (const [namespace, found] of this.#namespaces) {
      if (takeLoads) this.#takeLoads(namespace, found.ledger);
      if ((found.ledger.accounts.nextPeriodMs(nowMs) ?? nowMs) < nowMs) found.ledger.accounts.advance(nowMs);
      if (this.#isBusy(namespace)) this.#want(namespace);
      if (this.fence(namespace) === undefined) continue;
      this.#begin(namespace, found);
      found.scheduler.tick(nowMs);
      this.#attend(found, nowMs);
    }
  }

  #attend(found: Namespace, nowMs: number): void {
    if (found.attending) return;
    found.attending = true;
    this.#options.background.run('duties of scheduling', async () => {
      try {
        await found.duties.run(nowMs);
      } catch (error) {
        // The next round finds the same to do.
        if (!(error instanceof StoreUnavailableError)) throw error;
      } finally {
        found.attending = false;
      }
    });
  }

  /** Lets go of every lease, so that others take over at once. */
  async leave(): Promise<void> {
    this.#leaving = true;
    for (const { scheduler, duties } of this.#namespaces.values()) {
      scheduler.close();
      duties.close();
    }
    await this.#options.leases.leave();
  }

  /** Others could not be heard while the store was away. */
  #watchStore(): void {
    const { store, leases } = this.#options;
    const { available, sinceMs } = store.status();
    if (available && sinceMs !== this.#storeSinceMs) leases.listenAnew();
    if (available) this.#storeSinceMs = sinceMs;
  }

  #isBusy(namespace: string): boolean {
    const { tasks, allocations } = this.#options;
    return tasks.count(namespace) > 0 || allocations.count(namespace) > 0;
  }

  /** Something is to be placed: somebody has to. */
  #want(namespace: string): void {
    const found = this.#of(namespace);
    const { leases, clock, background, log } = this.#options;
    if (this.#leaving || found.acquiring || leases.held(namespace, SCHEDULE) !== undefined) return;
    if (clock.monoMs() < found.acquireMs) return;
    found.acquiring = true;
    background.run('take the lease of scheduling', async () => {
      try {
        const lease = await leases.acquire(namespace, SCHEDULE);
        if (lease !== undefined) {
          const fencing_token = `${lease.fencingToken}`;
          log.info({ namespace, fencing_token }, 'this replica schedules a namespace now');
        }
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
      } finally {
        found.acquiring = false;
        found.acquireMs = clock.monoMs() + ACQUIRE_PAUSE_MS;
      }
      this.#begin(namespace, found);
    });
  }

  /** Under a lease that is new, everything is looked at once. */
  #begin(namespace: string, found: Namespace): void {
    const lease = this.#options.leases.held(namespace, SCHEDULE);
    if (lease === undefined) {
      found.lease = undefined;
      return;
    }
    if (found.lease === lease || this.fence(namespace) === undefined) return;
    if (this.#namespaces.get(namespace) !== found) return;
    found.lease = lease;
    found.scheduler.begin();
    found.duties.begin(lease);
  }

  #takeLoads(namespace: string, ledger: Ledger): void {
    const { directory, observed, clock } = this.#options;
    if (!this.#isBusy(namespace)) return;
    for (const known of directory.all(namespace)) {
      const observation = observed(known);
      const { report, reportTime } = observation ?? {};
      if (report === undefined) continue;
      const reportMs = reportTime === undefined ? clock.wallMs() : Number(reportTime.seconds) * 1000;
      ledger.pool.setLoad(known.id, report.load, amountsOf(report.usage), reportMs);
    }
  }

  #of(namespace: string): Namespace {
    let found = this.#namespaces.get(namespace);
    if (found === undefined) {
      found = this.#make(namespace);
      this.#namespaces.set(namespace, found);
    }
    return found;
  }

  #make(namespace: string): Namespace {
    const ledger = new Ledger(this.#options.ledger);
    const ports: SchedulerPorts = {
      ...this.#options,
      fence: (name) => this.fence(name),
      refused: (name) => this.#options.leases.refused(name, SCHEDULE),
    };
    return {
      ledger,
      scheduler: new NamespaceScheduler({ ...ports, namespace, ledger }),
      duties: new Duties({ ...ports, namespace, ledger }),
      lease: undefined,
      acquiring: false,
      attending: false,
      acquireMs: 0,
    };
  }
}
