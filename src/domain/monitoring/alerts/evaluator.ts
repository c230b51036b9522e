import type { Background } from '../../../lib/background.ts';
import type { Logger } from '../../../lib/logger.ts';
import { type ChangeBatch, type Check, StoreUnavailableError } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import type { HeldLease, Leases } from '../../agent/care/leases.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import type { EvaluatorPorts } from './evaluator-ports.ts';
import type { Lane } from './metric-rules.ts';
import { NamespaceEvaluator } from './namespace-evaluator.ts';

/** The duty of alerts: its holder alone judges a namespace, and sends what is to be told. */
export const ALERTS = 'alerts';

export interface EvaluatorOptions extends EvaluatorPorts {
  leases: Leases;
  background: Background;
  log: Logger;
  /** Namespaces in which there are agents. */
  inUse(): Iterable<string>;
}

interface Namespace {
  evaluator: NamespaceEvaluator;
  /** The lease under which it began. */
  lease: HeldLease | undefined;
  /** Figures moved. */
  isDirty: boolean;
  /** Agents of which a figure went past a threshold. */
  crossed: Set<string>;
  isRunning: boolean;
  acquiring: boolean;
  acquireMs: number;
  /** When it was judged last, monotonic; by what was looked at. */
  fewMs: number;
  allMs: number;
}

/** How often the evaluator is called. */
export const TICK_MS = 100;
/** Without news: how often figures are compared while an alert is open, and how often everything is looked at. */
const OPEN_MS = 200;
const ALL_MS = 1000;
const ACQUIRE_PAUSE_MS = 500;

/** Judges all namespaces whose lease this replica holds. A view: it hears of events, and must come after that of alerts. */
export class Evaluator implements View {
  readonly #options: EvaluatorOptions;
  readonly #namespaces = new Map<string, Namespace>();
  #storeSinceMs: number;
  #leaving = false;

  constructor(options: EvaluatorOptions) {
    this.#options = options;
    this.#storeSinceMs = options.store.status().sinceMs;
  }

  /** Figures of a namespace moved. */
  moved(namespace: string): void {
    const found = this.#namespaces.get(namespace);
    if (found !== undefined) found.isDirty = true;
  }

  /** A figure of an agent went past a threshold. */
  crossed(namespace: string, agentId: string): void {
    const found = this.#namespaces.get(namespace);
    if (found === undefined) return;
    found.crossed.add(agentId);
    found.isDirty = true;
  }

  reset(namespace: string): void {
    // It is begun anew, from what is there now.
    this.#namespaces.delete(namespace);
  }

  apply(batch: ChangeBatch): void {
    if (batch.appends.length === 0) return;
    this.#namespaces.get(batch.namespace)?.evaluator.source.heard(batch);
  }

  /** Call it every 100 ms. A slow namespace delays no other. */
  tick(): void {
    if (this.#leaving) return;
    const { store, leases, view } = this.#options;
    this.#watchStore();
    if (!store.status().available) return;
    const wanted = new Set([SYSTEM_NAMESPACE, ...this.#options.inUse()]);
    for (const namespace of view.namespaces()) if (view.count(namespace) > 0) wanted.add(namespace);
    for (const namespace of wanted) {
      const found = this.#of(namespace);
      const lease = leases.held(namespace, ALERTS);
      if (lease === undefined) this.#want(namespace, found);
      else this.#attend(namespace, found, lease);
    }
    for (const namespace of this.#namespaces.keys())
      if (!wanted.has(namespace)) this.#namespaces.delete(namespace);
  }

  /** Lets go of every lease, so that others take over at once. */
  async leave(): Promise<void> {
    this.#leaving = true;
    await this.#options.leases.leave();
  }

  /** Others could not be heard while the store was away. */
  #watchStore(): void {
    const { store, leases } = this.#options;
    const { available, sinceMs } = store.status();
    if (available && sinceMs !== this.#storeSinceMs) leases.listenAnew();
    if (available) this.#storeSinceMs = sinceMs;
  }

  #of(namespace: string): Namespace {
    let found = this.#namespaces.get(namespace);
    if (found === undefined) {
      found = {
        evaluator: new NamespaceEvaluator({ ...this.#options, namespace }),
        lease: undefined,
        isDirty: true,
        crossed: new Set(),
        isRunning: false,
        acquiring: false,
        acquireMs: 0,
        fewMs: 0,
        allMs: Number.NEGATIVE_INFINITY,
      };
      this.#namespaces.set(namespace, found);
    }
    return found;
  }

  #want(namespace: string, found: Namespace): void {
    found.lease = undefined;
    const { leases, clock, background, log } = this.#options;
    if (clock.monoMs() - found.allMs >= ALL_MS && !found.isRunning) {
      found.allMs = clock.monoMs();
      found.evaluator.watch();
    }
    if (found.acquiring || clock.monoMs() < found.acquireMs) return;
    found.acquiring = true;
    background.run('take the lease of alerts', async () => {
      try {
        const lease = await leases.acquire(namespace, ALERTS);
        if (lease === undefined) return;
        const fencing_token = `${lease.fencingToken}`;
        log.info({ namespace, fencing_token }, 'this replica judges the alerts of a namespace now');
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
      } finally {
        found.acquiring = false;
        found.acquireMs = clock.monoMs() + ACQUIRE_PAUSE_MS;
      }
    });
  }

  #attend(namespace: string, found: Namespace, lease: HeldLease): void {
    if (found.isRunning) return;
    const { clock, view, background } = this.#options;
    const nowMs = clock.monoMs();
    const begins = found.lease !== lease;
    const lane: Lane = begins || nowMs - found.allMs >= ALL_MS ? 'all' : 'few';
    const isDue =
      begins ||
      lane === 'all' ||
      found.isDirty ||
      found.evaluator.isUrgent ||
      (view.openCount(namespace) > 0 && nowMs - found.fewMs >= OPEN_MS);
    if (!isDue) return;
    found.isRunning = true;
    found.isDirty = false;
    found.fewMs = nowMs;
    if (lane === 'all') found.allMs = nowMs;
    background.run('judge alerts', async () => {
      try {
        await this.#round(namespace, found, lease, begins, lane);
      } catch (error) {
        // The next round finds the same to do.
        if (!(error instanceof StoreUnavailableError)) throw error;
        found.isDirty = true;
      } finally {
        found.isRunning = false;
      }
    });
  }

  async #round(
    namespace: string,
    found: Namespace,
    lease: HeldLease,
    begins: boolean,
    lane: Lane,
  ): Promise<void> {
    const { leases, views } = this.#options;
    const fence: Check = lease.fence;
    if (begins) {
      // Alerts that the last holder stored may not have come here yet.
      if (views.position(namespace).revision < fence.revision) return;
      await found.evaluator.begin(fence, lease.inherited);
      found.lease = lease;
    }
    const { crossed } = found;
    found.crossed = new Set();
    const outcome = await found.evaluator.round(fence, lane, crossed);
    if (outcome === 'refused') {
      leases.refused(namespace, ALERTS);
      found.lease = undefined;
    } else if (outcome === 'again') {
      found.isDirty = true;
      for (const agentId of crossed) found.crossed.add(agentId);
      if (lane === 'all') found.allMs = Number.NEGATIVE_INFINITY;
    }
  }
}
