import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { Session } from '../../agent/session.ts';
import { type Cell, CellBuilder } from './cells.ts';
import { columnName, SPAN_MS, STEP_MS, type Tier } from './chunks.ts';
import type { HistoryClock } from './history-clock.ts';
import type { Sample } from './sampled-history.ts';
import { Track, type TrackOptions } from './track.ts';

/** How often an agent's chunk is written. */
const WRITE_MS = 5 * 60_000;

export interface AgentsHistoryOptions extends TrackOptions {
  clock: HistoryClock;
}

interface AgentTrack {
  readonly track: Track;
  readonly trips: CellBuilder;
  readonly health: CellBuilder;
  readonly load: CellBuilder;
  /** Of resources. */
  readonly figures: Map<string, CellBuilder>;
  /** The minute that is open; below 0: none. */
  minute: number;
  generation: number;
  /** When its chunk was written last, by the store's time. */
  writtenMs: number;
  /** When something was measured last. */
  usedMs: number;
}

const TRIPS = columnName('communication_latency', '');
const HEALTH = columnName('agent_health', '');
const LOAD = columnName('system_load', '');

/** The minutes of the agents that are attached to this replica: every round trip, and samples of their figures. */
export class AgentsHistory {
  readonly #options: AgentsHistoryOptions;
  /** By "namespace/id": an agent that comes back goes on in the chunk that is open. */
  readonly #agents = new Map<string, AgentTrack>();
  readonly #bySession = new Map<Session, AgentTrack>();

  constructor(options: AgentsHistoryOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#agents.size;
  }

  /** The hot path. */
  heard(session: Session, rttMs: number | undefined): void {
    if (rttMs === undefined) return;
    const agent = this.#bySession.get(session) ?? this.#enter(session);
    const { clock } = this.#options;
    this.#open(agent, clock.ms());
    agent.trips.add(rttMs);
  }

  ended(session: Session): void {
    this.#bySession.delete(session);
  }

  /** Figures of an agent that is attached here. */
  sample(session: Session, health: number, load: number | undefined, samples?: Iterable<Sample>): void {
    const agent = this.#bySession.get(session) ?? this.#enter(session);
    this.#open(agent, this.#options.clock.ms());
    agent.health.add(health);
    if (load !== undefined) agent.load.add(load);
    if (samples === undefined) return;
    for (const { metric, resource, value } of samples) {
      const column = columnName(metric, resource);
      let builder = agent.figures.get(column);
      if (builder === undefined) {
        builder = new CellBuilder();
        agent.figures.set(column, builder);
      }
      builder.add(value);
    }
  }

  /** What was added of an agent and is not handed over yet. */
  open(namespace: string, tier: Tier, agentId: string): { key: string; value: Uint8Array } | undefined {
    return tier === 'minutes' ? this.#agents.get(`${namespace}/${agentId}`)?.track.open() : undefined;
  }

  /**
   * Closes minutes that are over, hands over chunks that are due, and forgets agents that are gone, step by step: call it every
   * few seconds. @param all hand over everything, the open minutes too: nothing is measured any more
   */
  *upkeep(all = false): Generator<void, void> {
    const nowMs = this.#options.clock.ms();
    for (const [key, agent] of this.#agents) {
      const overMs = (agent.minute + 1) * STEP_MS.minutes;
      if (agent.minute >= 0 && (all || nowMs >= overMs || nowMs < overMs - 2 * STEP_MS.minutes)) close(agent);
      if (all || nowMs - agent.writtenMs >= WRITE_MS || nowMs < agent.writtenMs) {
        agent.track.flush();
        // Those that came together are not written together for ever.
        agent.writtenMs = nowMs;
      }
      // A chunk of its name may not be begun twice: it is kept until the hour is over.
      const isIdle = Math.abs(nowMs - agent.usedMs) > 2 * SPAN_MS.minutes;
      if (isIdle && agent.minute < 0) {
        agent.track.flush();
        this.#agents.delete(key);
      }
      yield;
    }
  }

  #enter(session: Session): AgentTrack {
    const { namespace, agentId } = session;
    const key = `${namespace}/${agentId}`;
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      const nowMs = this.#options.clock.ms();
      const subject = { scope: MetricScope.AGENT, id: agentId };
      agent = {
        track: new Track(this.#options, namespace, 'minutes', subject, STEP_MS.minutes),
        ...{ trips: new CellBuilder(), health: new CellBuilder(), load: new CellBuilder() },
        ...{ figures: new Map(), minute: -1, generation: 0 },
        // Spread over the interval by their names.
        ...{ writtenMs: nowMs - spread(key) * WRITE_MS, usedMs: nowMs },
      };
      this.#agents.set(key, agent);
    }
    if (!session.ended) this.#bySession.set(session, agent);
    return agent;
  }

  #open(agent: AgentTrack, nowMs: number): void {
    const minute = Math.floor(nowMs / STEP_MS.minutes);
    const { generation } = this.#options.clock;
    if (minute === agent.minute && generation === agent.generation) return;
    if (agent.minute >= 0) close(agent);
    agent.minute = minute;
    agent.generation = generation;
    agent.usedMs = nowMs;
  }
}

function close(agent: AgentTrack): void {
  const cells: [string, Cell][] = [];
  const take = (column: string, builder: CellBuilder): void => {
    const cell = builder.take();
    if (cell !== undefined) cells.push([column, cell]);
  };
  take(TRIPS, agent.trips);
  take(HEALTH, agent.health);
  take(LOAD, agent.load);
  for (const [column, builder] of agent.figures) take(column, builder);
  agent.figures.clear();
  if (cells.length > 0) agent.track.add(agent.minute * STEP_MS.minutes, agent.generation, cells);
  agent.minute = -1;
}

/** 0 to 1, the same for the same name (FNV-1a). */
function spread(name: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < name.length; index += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0) / 0x1_0000_0000;
}
