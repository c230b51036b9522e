import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import type { Store } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { Observations } from '../../agent/observations.ts';
import { agentIdOf, isAgentKey } from '../../agent/record.ts';
import type { SessionContext } from '../../agent/session-context.ts';
import type { Sessions } from '../../agent/sessions.ts';
import type { VerdictWriter } from '../../agent/verdict-writer.ts';
import type { Mailboxes } from '../../coordination/mailboxes.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import type { MeasuredReplica } from '../replicas.ts';
import { AgentCounts } from './agent-counts.ts';
import { AgentFigures } from './agent-figures.ts';
import { Crossings, type Threshold } from './crossings.ts';
import { Figures } from './figures.ts';
import { JudgedAgents } from './judged-agents.ts';
import { MailCounts } from './mail-counts.ts';
import { OwnAgents } from './own-agents.ts';
import { Rate } from './rates.ts';
import { Shards } from './shards.ts';
import { SystemFigures } from './system-figures.ts';
import { TaskCounts, type TaskCountsOptions } from './task-counts.ts';

export interface CreateFiguresOptions {
  store: Store;
  clock: Clock;
  log: Logger;
  replicaId: string;
  context: SessionContext;
  sessions: Pick<Sessions, 'all'>;
  directory: AgentDirectory;
  observations: Pick<Observations, 'of' | 'write'>;
  verdicts: Pick<VerdictWriter, 'size' | 'waiting'>;
  mailboxes: Mailboxes;
  tasks: TaskCountsOptions['tasks'];
  pool: TaskCountsOptions['pool'];
  waiting: TaskCountsOptions['waiting'];
  /** The store's clock, as far as is known without asking. */
  storeMs(): number;
  replicas: {
    isAlive(replicaId: string): boolean;
    measured(): readonly MeasuredReplica[];
    hasOthers(): boolean;
  };
}

/** How often what moved is told, and written. */
export const FIGURES_TICK_MS = 100;
/** What goes through all sessions is done so often. */
const LOOK_MS = 1000;

/**
 * The figures, wired together. Has to be made before the views start; `view` has to follow the store, `measuring` to hear the
 * sessions, and `tick` and `publish` to be called ten times a second.
 */
export function createFigures(options: CreateFiguresOptions) {
  const { store, clock, log, replicaId, context, directory, replicas, pool } = options;
  let figures: Figures | undefined;
  const moved = (namespace: string): void => figures?.moved(namespace);
  const movedEverywhere = (namespace: string): void => figures?.movedEverywhere(namespace);
  const crossings = new Crossings();
  const own = new OwnAgents({ context, directory, crossings, moved });
  const shards = new Shards({
    ...{ store, clock, own, replicaId, startMs: clock.wallMs() },
    replicaAlive: (id) => replicas.isAlive(id),
    others: () => replicas.hasOthers(),
    moved: movedEverywhere,
  });
  const counts = new AgentCounts({
    directory,
    told: (namespace, agentId, after) => {
      own.changed(namespace, agentId, after);
      movedEverywhere(namespace);
    },
  });
  const judged = new JudgedAgents({ directory, verdicts: options.verdicts, moved: movedEverywhere });
  const mail = new MailCounts({ mailboxes: options.mailboxes });
  const { tasks, waiting, storeMs } = options;
  const agents = new AgentFigures({ own, directory, observations: options.observations, pool, clock });
  const made = new Figures({
    ...{ own, shards, counts, judged, mail, clock, log },
    ...{ agents, directory, crossings },
    tasks: new TaskCounts({
      ...{ tasks, pool, waiting, storeMs, clock },
      hasAgents: (namespace) => directory.count(namespace) > 0,
    }),
    system: new SystemFigures({ clock, replicas: () => replicas.measured() }),
    deliveries: (namespace) => options.mailboxes.total(namespace),
  });
  figures = made;
  const heartbeats = new Rate();
  /** Told since the other replicas were. */
  const unpublished = new Set<string>();
  let analysedMs: number | undefined;
  let lookedMs = Number.NEGATIVE_INFINITY;

  const look = (nowMs: number): void => {
    lookedMs = nowMs;
    for (const { session } of options.sessions.all()) own.admit(session, nowMs);
    own.look(nowMs);
    mail.read(nowMs);
    heartbeats.read(own.heard, nowMs);
    made.movedEverywhere(SYSTEM_NAMESPACE);
  };

  const view: View = {
    reset: (...given) => {
      mail.reset(...given);
      movedEverywhere(given[0]);
    },
    apply: (batch) => {
      mail.apply(batch);
      if (batch.changes.length > 0) movedEverywhere(batch.namespace);
    },
    live: (records) => {
      shards.live(records);
      if (!crossings.watchesAgents) return;
      // What other replicas saw of single agents: at once where something was crossed.
      for (const { namespace, key } of records)
        if (isAgentKey(key)) crossings.heard(namespace, agentIdOf(key));
    },
  };
  return {
    figures: made,
    view,
    own,
    agents,
    measuring: {
      heard: (session: Parameters<OwnAgents['heartbeat']>[0], nowMs: number) => own.heartbeat(session, nowMs),
      ended: (session: Parameters<OwnAgents['ended']>[0]) => own.ended(session),
    },
    heartbeatsRate: () => heartbeats.perSecond(),
    /** The values at which rules fire and clear: figures that cross one are told to the other replicas at once. */
    thresholds: (list: readonly Threshold[]) => crossings.set(list),
    /** A system service was asked, or another replica told how it is. @param isOwn this replica asked it */
    service: (name: string, up: boolean | undefined, latencyMs: number | undefined, isOwn: boolean) => {
      made.service(name, up, latencyMs, isOwn);
      made.movedEverywhere(SYSTEM_NAMESPACE);
    },
    /** Tells what moved. */
    tick: (): void => {
      const nowMs = clock.monoMs();
      if (nowMs - lookedMs >= LOOK_MS) look(nowMs);
      judged.count();
      for (const namespace of made.tell()) unpublished.add(namespace);
    },
    /** Writes what other replicas have to know. @throws StoreUnavailableError */
    publish: async (): Promise<void> => {
      const told = [...unpublished];
      unpublished.clear();
      if (!replicas.hasOthers()) {
        crossings.forget();
        return;
      }
      const crossed = crossings.takeSessions();
      if (crossed.length > 0) await options.observations.write(crossed);
      await shards.publish(crossings.namespaces(told, made));
    },
    /** Reckons the whole anew and tells of all; call it every `monitoring_interval`. */
    sweep: (): void => {
      look(clock.monoMs());
      made.sweep();
      analysedMs = clock.wallMs();
    },
    /** When that was last, wall clock; undefined: not yet. */
    analysedMs: () => analysedMs,
    /** What other replicas have written before this one listened. @throws StoreUnavailableError */
    load: async (): Promise<void> => {
      for (const namespace of await store.namespaces()) shards.live(await store.scanLive(namespace));
    },
    leave: () => shards.leave(),
  };
}
