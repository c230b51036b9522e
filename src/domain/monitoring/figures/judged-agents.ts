import { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { isAttached } from '../../agent/liveness.ts';
import type { VerdictWriter } from '../../agent/verdict-writer.ts';
import { standingOf } from './standing.ts';

export interface JudgedAgentsOptions {
  directory: Pick<AgentDirectory, 'get'>;
  verdicts: Pick<VerdictWriter, 'size' | 'waiting'>;
  moved(namespace: string): void;
}

const NONE: ReadonlyMap<string, number> = new Map();

/** Agents that were judged gone while the store still has them as attached: it may be away for long. */
export class JudgedAgents {
  readonly #options: JudgedAgentsOptions;
  /** By namespace, then by zone. */
  #counts = new Map<string, Map<string, number>>();

  constructor(options: JudgedAgentsOptions) {
    this.#options = options;
  }

  of(namespace: string): ReadonlyMap<string, number> {
    return this.#counts.get(namespace) ?? NONE;
  }

  /** Counts anew; call it ten times a second. */
  count(): void {
    const { directory, verdicts, moved } = this.#options;
    if (verdicts.size === 0 && this.#counts.size === 0) return;
    const before = this.#counts;
    this.#counts = new Map();
    const seen = new Set<string>();
    for (const { namespace, agentId, liveness, epoch } of verdicts.waiting()) {
      if (liveness === undefined || isAttached(liveness) || liveness === Agent_Liveness.LEFT) continue;
      const known = directory.get(namespace, agentId);
      if (known === undefined || known.record.sessionEpoch !== epoch) continue;
      const { attached, works, zone } = standingOf(known.record);
      const key = `${namespace}/${agentId}`;
      if (!attached || !works || seen.has(key)) continue;
      seen.add(key);
      const zones = this.#counts.get(namespace) ?? new Map<string, number>();
      this.#counts.set(namespace, zones.set(zone, (zones.get(zone) ?? 0) + 1));
    }
    for (const namespace of new Set([...before.keys(), ...this.#counts.keys()])) moved(namespace);
  }
}
