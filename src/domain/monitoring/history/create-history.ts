import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { HistoryConfig } from '../../../config/monitoring-config.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import { type Store, StoreUnavailableError } from '../../../state/store.ts';
import type { HeldLease } from '../../agent/care/leases.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { Session } from '../../agent/session.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import { inSlices } from '../../resource/rebalance/in-slices.ts';
import { AgentsHistory } from './agents-history.ts';
import type { Subject, Tier } from './chunks.ts';
import { HistoryClock } from './history-clock.ts';
import { Outbox } from './outbox.ts';
import { HistoryQuery } from './query.ts';
import { Rollup } from './rollup.ts';
import { Sampler, type SamplerOptions } from './sampler.ts';
import { writerName } from './track.ts';
import { Trimmer } from './trim.ts';

/** The duty of keeping the history of a namespace: its holder samples fleet and zones, rolls hours up, and trims. */
export const MONITOR = 'monitor';

export interface CreateHistoryOptions {
  /** The monitoring database. */
  store: Store;
  config: HistoryConfig;
  clock: Clock;
  log: Logger;
  replicaId: string;
  figures: SamplerOptions['figures'];
  agents: SamplerOptions['agents'];
  resourcesOf: SamplerOptions['resourcesOf'];
  directory: Pick<AgentDirectory, 'all'>;
  leases: {
    held(namespace: string, duty: string): HeldLease | undefined;
    acquire(namespace: string, duty: string): Promise<HeldLease | undefined>;
    leave(): Promise<void>;
  };
  /** The store's clock, as far as is known without asking. */
  storeMs(): number;
}

/** How often samples are looked after, chunks handed over, and what is old is put together or removed. */
export const HISTORY_TICK_MS = 1000;
const FLUSH_MS = 60_000;
const UPKEEP_MS = 10_000;
const CHORES_MS = 60_000;
/** Leases that are taken in one round. */
const ACQUIRE = 16;

/**
 * History, wired together. `heard` and `ended` have to hear the sessions; `tick`, `store` and `chores` to be called every
 * HISTORY_TICK_MS.
 */
export function createHistory(options: CreateHistoryOptions) {
  const { store, config, clock, log, replicaId, figures, leases } = options;
  const historyClock = new HistoryClock({ storeMs: options.storeMs });
  const outbox = new Outbox({ store, log, nowMs: () => historyClock.ms() });
  const writer = writerName(replicaId, clock.wallMs());
  const track = { clock: historyClock, outbox, writer };
  const agentsHistory = config.agentsMs > 0 ? new AgentsHistory(track) : undefined;
  const isKeeper = (namespace: string): boolean => leases.held(namespace, MONITOR) !== undefined;
  const sampler = new Sampler({
    ...{ ...track, stepMs: config.sampleIntervalMs, figures, isKeeper, agentsHistory },
    agents: options.agents,
    resourcesOf: options.resourcesOf,
  });
  const rollup = new Rollup({ store, clock, minutesMs: config.minutesMs });
  const trimmer = new Trimmer({ store, config, clock, log });
  const query = new HistoryQuery({
    ...{ store, config, clock, directory: options.directory },
    nowMs: () => historyClock.ms(),
    measured: (namespace, scope) => sampler.ids(namespace, scope),
    unstored: (namespace, tier, subject) => unstored(namespace, tier, subject),
  });
  const unstored = (namespace: string, tier: Tier, subject: Subject): Map<string, Uint8Array> => {
    const waiting = outbox.of(namespace, tier, subject);
    const open =
      subject.scope === MetricScope.AGENT
        ? agentsHistory?.open(namespace, tier, subject.id)
        : sampler.open(namespace, tier, subject);
    return open === undefined ? waiting : waiting.set(open.key, open.value);
  };
  let flushedMs = clock.monoMs();
  let keptUpMs = clock.monoMs();
  let choresMs = Number.NEGATIVE_INFINITY;

  /** Somebody has to keep the history of each namespace. */
  const acquire = async (): Promise<void> => {
    let left = ACQUIRE;
    for (const namespace of figures.namespaces()) {
      if (isKeeper(namespace)) continue;
      // One that another replica holds costs no commit, and does not count.
      if ((await leases.acquire(namespace, MONITOR)) === undefined) continue;
      left -= 1;
      if (left <= 0) return;
    }
  };

  return {
    query,
    heard: (session: Session, rttMs: number | undefined): void => agentsHistory?.heard(session, rttMs),
    ended: (session: Session): void => agentsHistory?.ended(session),
    /** Takes samples, and hands over what is due. */
    tick: async (): Promise<void> => {
      await inSlices(sampler.run(), clock);
      const nowMs = clock.monoMs();
      if (nowMs - flushedMs >= FLUSH_MS) {
        flushedMs = nowMs;
        sampler.flush();
      }
      if (nowMs - keptUpMs >= UPKEEP_MS && agentsHistory !== undefined) {
        keptUpMs = nowMs;
        await inSlices(agentsHistory.upkeep(), clock);
      }
    },
    /** Stores what was handed over. @throws StoreUnavailableError: it waits */
    store: (): Promise<void> => outbox.flush(),
    /** Takes leases, rolls up and trims. @throws StoreUnavailableError */
    chores: async (): Promise<void> => {
      await acquire();
      for (const [namespace, sinceMs] of outbox.late()) {
        await rollup.goBack(namespace, sinceMs);
        outbox.settled(namespace);
      }
      const nowMs = clock.monoMs();
      if (nowMs - choresMs < CHORES_MS) return;
      choresMs = nowMs;
      // What waits here would be missing; and what others hold back of the same outage is soon stored.
      const mayRollUp = !outbox.isLate;
      for (const namespace of figures.namespaces()) {
        if (!mayRollUp || !isKeeper(namespace)) continue;
        await rollup.run(namespace, historyClock.ms());
      }
      if (!isKeeper(SYSTEM_NAMESPACE)) return;
      for (const namespace of await store.namespaces()) await trimmer.run(namespace, historyClock.ms());
    },
    /** Chunks that wait for the database, and what they take. */
    backlog: () => ({ chunks: outbox.size, bytes: outbox.bytes, dropped: outbox.dropped }),
    /** Hands over and stores everything; for shutdown. */
    leave: async (): Promise<void> => {
      sampler.flush(true);
      if (agentsHistory !== undefined) await inSlices(agentsHistory.upkeep(true), clock);
      try {
        await outbox.flushAll();
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
      }
      await leases.leave();
    },
  };
}
