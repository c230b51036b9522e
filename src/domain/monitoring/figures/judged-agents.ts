import type { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { agentOf } from '../../agent/record.ts';
import type { VerdictWriter } from '../../agent/verdict-writer.ts';
import { count, noAgents, type ZoneCounts } from './agent-counts.ts';
import { standingOf } from './standing.ts';

export interface JudgedAgentsOptions {
  directory: Pick<AgentDirectory, 'get'>;
  verdicts: Pick<VerdictWriter, 'size' | 'waiting'>;
  moved(namespace: string): void;
}

/** What is to be added to the counts of what is stored; below zero: taken from them. */
export interface JudgedCounts {
  zones: Map<string, ZoneCounts>;
  liveness: Map<Agent_Liveness, number>;
}

const nothing = (): JudgedCounts => ({ zones: new Map(), liveness: new Map() });

/** What was judged while the store does not say so yet: it may be away for long. */
export class JudgedAgents {
  readonly #options: JudgedAgentsOptions;
  #counts = new Map<string, JudgedCounts>();

  constructor(options: JudgedAgentsOptions) {
    this.#options = options;
  }

  of(namespace: string): JudgedCounts {
    return this.#counts.get(namespace) ?? nothing();
  }

  /** Counts anew; call it ten times a second. */
  count(): void {
    const { directory, verdicts, moved } = this.#options;
    if (verdicts.size === 0 && this.#counts.size === 0) return;
    const before = this.#counts;
    /** Of one that was judged twice the later one. */
    const judged = new Map<string, { known: KnownAgent; liveness: Agent_Liveness }>();
    for (const { namespace, agentId, liveness, epoch } of verdicts.waiting()) {
      const known = directory.get(namespace, agentId);
      if (liveness === undefined || known?.record.sessionEpoch !== epoch) continue;
      judged.set(`${namespace}/${agentId}`, { known, liveness });
    }
    this.#counts = new Map();
    for (const { known, liveness } of judged.values()) this.#add(known, liveness);
    for (const namespace of new Set([...before.keys(), ...this.#counts.keys()])) moved(namespace);
  }

  #add({ namespace, record }: KnownAgent, liveness: Agent_Liveness): void {
    const stored = standingOf(record);
    const now = standingOf(record, liveness);
    const counts = this.#counts.get(namespace) ?? nothing();
    this.#counts.set(namespace, counts);
    count(counts.liveness, agentOf(record).liveness, -1);
    count(counts.liveness, liveness, 1);
    const zone = counts.zones.get(stored.zone) ?? noAgents();
    counts.zones.set(stored.zone, zone);
    zone.connected += Number(now.attached) - Number(stored.attached);
    zone.lost += Number(now.lost) - Number(stored.lost);
    zone.absent += Number(now.works && !now.attached) - Number(stored.works && !stored.attached);
  }
}
