import {
  Event_Severity,
  type ServiceStatus,
  ServiceStatus_State as State,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Background } from '../../../lib/background.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import { type LiveRecord, type Store, StoreUnavailableError } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Views } from '../../../state/views.ts';
import type { HeldLease, Leases } from '../../agent/care/leases.ts';
import type { SelfWatch } from '../../agent/observer.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import type { EventWriter } from '../events.ts';
import { isStale, type Judged, judge, NEVER_ASKED } from './judge.ts';
import type { ProbeOutcome, Probes, ServiceConfig } from './ports.ts';
import { changeEvent } from './service-events.ts';
import { type Asked, encodeService, serviceKey, statusOf } from './service-record.ts';
import type { ServiceView, Told } from './service-view.ts';

/** Where readings of services go. */
export interface ServiceFigures {
  /** @param up undefined: it is not known any more. @param own whether this replica asked */
  service(name: string, up: boolean | undefined, latencyMs: number | undefined, own: boolean): void;
}

export interface ServicesOptions {
  services: readonly ServiceConfig[];
  probes: Probes;
  view: ServiceView;
  store: Store;
  storeTime: Pick<StoreTime, 'ms'>;
  views: Pick<Views, 'position'>;
  /** Of its own: they are let go of by `leave`. */
  leases: Leases;
  figures: ServiceFigures;
  events: EventWriter;
  clock: Clock;
  background: Background;
  log: Logger;
  self: Pick<SelfWatch, 'stallMs'>;
  replicaId: string;
  /** Uniform in [0, 1). */
  random(): number;
}

/** The duty of asking the services: its holder alone does. */
export const SERVICES = 'services';
/** How often to call `tick`. */
export const SERVICES_TICK_MS = 200;
const ACQUIRE_PAUSE_MS = 500;
/** The first probes are spread over this time; one that went wrong here is made again after it. */
const SPREAD_MS = 1000;

/** What the replica that asks keeps of a service. */
interface Turn {
  judged: Judged;
  /** When it is asked next, monotonic. */
  dueMs: number;
  asking: boolean;
  /** The last change that this replica told; the view may not have heard of it yet. */
  told: Told | undefined;
}

/** Asks the system services, one replica for all, and says what changed. */
export class Services {
  readonly #options: ServicesOptions;
  readonly #turns = new Map<string, Turn>();
  readonly #known: ReadonlySet<string>;
  /** Services whose figures were said to be unknown. */
  readonly #stale = new Set<string>();
  readonly #leaving = new AbortController();
  #lease: HeldLease | undefined;
  #acquiring = false;
  #acquireMs = 0;
  #sequence = 0;

  constructor(options: ServicesOptions) {
    this.#options = options;
    this.#known = new Set(options.services.map(({ name }) => name));
    options.view.listen((name, asked) => this.#measured(name, asked));
  }

  /** What replicas had found before this one started. Once, after the views have started. @throws StoreUnavailableError */
  async load(): Promise<void> {
    const { store, view } = this.#options;
    if (this.#known.size > 0) view.live(await store.scanLive(SYSTEM_NAMESPACE));
  }

  /** How each configured service is, in the order of the configuration. */
  statuses(): ServiceStatus[] {
    const { services, view, storeTime } = this.#options;
    const nowMs = storeTime.ms();
    return services.map((service) => statusOf(service, view.last(service.name), nowMs));
  }

  /** Asks whom it is time to ask, if that is this replica's duty. Probes go on in the background. */
  tick(): void {
    const { services, clock, background } = this.#options;
    if (this.#leaving.signal.aborted || services.length === 0) return;
    this.#noticeStale();
    const lease = this.#duty();
    if (lease === undefined) return;
    for (const service of services) {
      const turn = this.#turns.get(service.name);
      if (turn === undefined || turn.asking || clock.monoMs() < turn.dueMs) continue;
      turn.asking = true;
      background.run('probe of a service', async () => {
        try {
          await this.#ask(service, turn, lease);
        } finally {
          turn.asking = false;
        }
      });
    }
  }

  /** Asks nobody any more, and lets another replica. */
  async leave(): Promise<void> {
    this.#leaving.abort();
    if (this.#known.size === 0) return;
    try {
      await this.#options.leases.leave();
    } catch (error) {
      // Others find out that this replica is gone.
      if (!(error instanceof StoreUnavailableError)) throw error;
    }
  }

  /** The lease, once this replica has seen all that was stored before it began. */
  #duty(): HeldLease | undefined {
    const { leases, views, clock, background } = this.#options;
    const lease = leases.held(SYSTEM_NAMESPACE, SERVICES);
    if (lease === undefined) {
      this.#lease = undefined;
      if (!this.#acquiring && clock.monoMs() >= this.#acquireMs) {
        this.#acquiring = true;
        this.#acquireMs = clock.monoMs() + ACQUIRE_PAUSE_MS;
        background.run('lease of services', () => this.#acquire());
      }
      return undefined;
    }
    if (views.position(SYSTEM_NAMESPACE).revision < lease.fence.revision) return undefined;
    if (this.#lease?.fence.revision !== lease.fence.revision) this.#takeOver();
    this.#lease = lease;
    return lease;
  }

  async #acquire(): Promise<void> {
    try {
      await this.#options.leases.acquire(SYSTEM_NAMESPACE, SERVICES);
    } catch (error) {
      // It is asked for again.
      if (!(error instanceof StoreUnavailableError)) throw error;
    } finally {
      this.#acquiring = false;
    }
  }

  /** Goes on from what the replica before knew. */
  #takeOver(): void {
    const { services, view, storeTime, clock, random } = this.#options;
    const nowMs = storeTime.ms();
    this.#turns.clear();
    this.#sequence = 0;
    for (const { name, intervalMs } of services) {
      const judged = view.last(name)?.judged ?? NEVER_ASKED;
      const restMs = Math.min(intervalMs, Math.max(0, judged.probeMs + intervalMs - nowMs));
      const dueMs = clock.monoMs() + Math.max(restMs, random() * Math.min(SPREAD_MS, intervalMs));
      this.#turns.set(name, { judged, dueMs, asking: false, told: undefined });
    }
  }

  async #ask(service: ServiceConfig, turn: Turn, lease: HeldLease): Promise<void> {
    const { clock, self, storeTime, view, replicaId } = this.#options;
    const startMs = clock.monoMs();
    const outcome = await this.#probe(service);
    const endMs = clock.monoMs();
    if (this.#leaving.signal.aborted || this.#turns.get(service.name) !== turn) return;
    const wellDone = outcome.ok && outcome.latencyMs <= service.slowMs;
    if (!wellDone && self.stallMs(startMs, endMs) > 0) {
      // This process stood still meanwhile: that says nothing about the service.
      turn.dueMs = endMs + SPREAD_MS;
      return;
    }
    // Kept to the rhythm, however long the answer took.
    turn.dueMs = Math.max(endMs, startMs + service.intervalMs);
    turn.judged = judge(turn.judged, outcome, service, storeTime.ms());
    const asked: Asked = { judged: turn.judged, replicaId };
    view.hear(service.name, asked);
    try {
      if (await this.#tell(service, turn, asked, lease)) await this.#share(service, asked, lease);
    } catch (error) {
      // Told after the next probe, if it is still so.
      if (!(error instanceof StoreUnavailableError)) throw error;
    }
  }

  async #probe(service: ServiceConfig): Promise<ProbeOutcome> {
    const { timeoutMs, probe } = service;
    const ending = new AbortController();
    const leave = (): void => ending.abort();
    this.#leaving.signal.addEventListener('abort', leave, { once: true });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<ProbeOutcome>((resolve) => {
      timer = setTimeout(() => {
        resolve({ ok: false, detail: `did not answer within ${timeoutMs} ms` });
        ending.abort();
      }, timeoutMs);
    });
    try {
      return await Promise.race([late, this.#options.probes[probe](service, ending.signal)]);
    } catch (error) {
      this.#options.log.error({ err: error, service: service.name }, 'a probe failed by itself');
      return { ok: false, detail: 'could not be asked' };
    } finally {
      clearTimeout(timer);
      this.#leaving.signal.removeEventListener('abort', leave);
    }
  }

  /** Stores a change with its event. False: another replica asks now. @throws StoreUnavailableError */
  async #tell(service: ServiceConfig, turn: Turn, asked: Asked, lease: HeldLease): Promise<boolean> {
    const { store, events, leases, view, log } = this.#options;
    const told = newer(turn.told, view.told(service.name));
    const before = told?.asked.judged.state ?? State.OK;
    const { state } = asked.judged;
    if (state === before || state === State.UNSPECIFIED) return true;
    const event = changeEvent(service, asked.judged, told?.asked.judged);
    // The last change led to this one only where it was a bad one.
    const cause = told !== undefined && before !== State.OK ? { causeId: `${told.revision}-0` } : {};
    const outcome = await store.commit({
      namespace: SYSTEM_NAMESPACE,
      checks: [lease.fence],
      puts: [{ key: serviceKey(service.name), value: encodeService(service, asked) }],
      appends: [events.append({ ...event, ...cause })],
    });
    if (outcome.kind !== 'committed') {
      leases.refused(SYSTEM_NAMESPACE, SERVICES);
      return false;
    }
    turn.told = { asked, revision: outcome.revision };
    const level = event.severity === Event_Severity.INFO ? 'info' : 'warn';
    log[level]({ service: service.name, probe: service.probe }, event.message);
    return true;
  }

  async #share(service: ServiceConfig, asked: Asked, lease: HeldLease): Promise<void> {
    this.#sequence += 1;
    const record: LiveRecord = {
      namespace: SYSTEM_NAMESPACE,
      key: serviceKey(service.name),
      epoch: lease.fencingToken,
      sequence: this.#sequence,
      value: encodeService(service, asked),
    };
    await this.#options.store.putLive([record]);
  }

  #measured(name: string, { judged, replicaId }: Asked): void {
    if (!this.#known.has(name)) return;
    this.#stale.delete(name);
    const { state, finding, latencyMs } = judged;
    const up = state === State.UNSPECIFIED ? undefined : state !== State.DOWN;
    const own = replicaId === this.#options.replicaId;
    this.#options.figures.service(name, up, finding === State.DOWN ? undefined : latencyMs, own);
  }

  #noticeStale(): void {
    const { services, view, storeTime, figures } = this.#options;
    const nowMs = storeTime.ms();
    for (const service of services) {
      const asked = view.last(service.name);
      if (asked === undefined || this.#stale.has(service.name)) continue;
      if (!isStale(asked.judged, service, nowMs)) continue;
      this.#stale.add(service.name);
      figures.service(service.name, undefined, undefined, false);
    }
  }
}

const newer = (one: Told | undefined, other: Told | undefined): Told | undefined =>
  one === undefined || (other !== undefined && other.revision > one.revision) ? other : one;
