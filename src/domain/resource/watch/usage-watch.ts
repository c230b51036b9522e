import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { NewEvent } from '../../monitoring/events.ts';
import type { AgentFigures, ResourceFigures } from '../pool/types.ts';
import { type FleetReader, FRESH_MS } from '../rebalance/fleet-reader.ts';
import { inSlices } from '../rebalance/in-slices.ts';
import { isPast, judgeUsage, type UsageThresholds } from './usage-rules.ts';
import { type Mark, type MarkChange, NO_MARK, type WatchMarks } from './watch-marks.ts';

export interface UsageWatchOptions {
  reader: FleetReader;
  marks: WatchMarks;
  clock: Clock;
  thresholds: UsageThresholds;
}

/** Readings are looked at so often. */
const EVERY_MS = 15_000;
/** Only what has been reserved for so long says something: work takes a while to begin. */
const RESERVED_FOR_MS = 60_000;
/** Tasks that an event names. */
const MAX_NAMED = 5;

interface Watched {
  lookedMs: number;
  /** Since when something of a resource has been reserved on an agent, by "agent resource". */
  reservedMs: Map<string, number>;
}

/** Tells of agents whose reported usage is far from what is reserved on them. */
export class UsageWatch implements Chore {
  readonly name = 'watch over usage';
  readonly #options: UsageWatchOptions;
  readonly #watched = new Map<string, Watched>();

  constructor(options: UsageWatchOptions) {
    this.#options = options;
  }

  async run(context: ChoreContext): Promise<void> {
    const { clock, marks, reader } = this.#options;
    const { namespace, fence, storeMs } = context;
    const watched = this.#watched.get(namespace) ?? {
      lookedMs: Number.NEGATIVE_INFINITY,
      reservedMs: new Map(),
    };
    this.#watched.set(namespace, watched);
    if (storeMs - watched.lookedMs < EVERY_MS) return;
    watched.lookedMs = storeMs;
    const pool = reader.pool(namespace);
    if (pool === undefined) return;
    const known = await marks.of(namespace, fence);
    const changes = await inSlices(this.#look(context, watched, known.marks), clock);
    if (changes.length > 0) await marks.write(namespace, fence, changes);
  }

  *#look(
    { namespace, storeMs }: ChoreContext,
    watched: Watched,
    marks: ReadonlyMap<string, Mark>,
  ): Generator<void, MarkChange[]> {
    const pool = this.#options.reader.pool(namespace);
    const reservedMs = new Map<string, number>();
    const changes: MarkChange[] = [];
    for (const { id } of [...(pool?.agents() ?? [])]) {
      const figures = pool?.usageOf(id);
      if (figures === undefined) continue;
      for (const { resource, reserved } of figures.resources) {
        const key = `${id} ${resource}`;
        if (reserved > 0) reservedMs.set(key, watched.reservedMs.get(key) ?? storeMs);
      }
      const change = this.#judge(namespace, figures, reservedMs, marks.get(id) ?? NO_MARK, storeMs);
      if (change !== undefined) changes.push(change);
      yield;
    }
    for (const [agentId, mark] of marks) {
      if (mark.usage.size > 0 && pool?.agent(agentId) === undefined) {
        changes.push({ agentId, mark: { ...mark, usage: new Map() }, events: [] });
      }
    }
    watched.reservedMs = reservedMs;
    return changes;
  }

  #judge(
    namespace: string,
    { agentId, resources }: AgentFigures,
    reservedMs: ReadonlyMap<string, number>,
    mark: Mark,
    storeMs: number,
  ): MarkChange | undefined {
    const { clock, thresholds } = this.#options;
    const usage = new Map(mark.usage);
    const events: NewEvent[] = [];
    let changed = false;
    for (const figures of resources) {
      const { resource, reserved, used, usedOldestMs } = figures;
      const before = usage.get(resource);
      const sinceMs = reservedMs.get(`${agentId} ${resource}`);
      const ageMs = Math.max(0, clock.wallMs() - (usedOldestMs ?? 0));
      const counts = sinceMs !== undefined && storeMs - sinceMs >= RESERVED_FOR_MS;
      if (used === undefined || ageMs > FRESH_MS || !counts) continue;
      const decision = judgeUsage(before, { used, reserved, storeMs }, thresholds);
      if (decision.mark === undefined) changed = usage.delete(resource) || changed;
      else if (before === undefined ? decision.tell !== undefined : !isSame(before, decision.mark)) {
        usage.set(resource, decision.mark);
        changed = true;
      }
      if (decision.tell !== undefined) {
        events.push(this.#event(namespace, agentId, figures, decision.tell, ageMs));
      }
    }
    // What is not reported or reserved any more is forgotten once it may be told again.
    for (const [resource, each] of usage) {
      const gone = !reservedMs.has(`${agentId} ${resource}`);
      if (gone && isPast({ ...each, above: false, below: false }, storeMs)) {
        usage.delete(resource);
        changed = true;
      }
    }
    return changed ? { agentId, mark: { ...mark, usage }, events } : undefined;
  }

  #event(
    namespace: string,
    agentId: string,
    { resource, used = 0, reserved }: ResourceFigures,
    tell: 'above' | 'below',
    ageMs: number,
  ): NewEvent {
    const { reader, thresholds } = this.#options;
    const ids = reader.on(namespace, agentId).map(({ id }) => id);
    const words = tell === 'above' ? 'far more' : 'far less';
    return {
      type: `resource.usage_${tell}_reservation`,
      severity: tell === 'above' ? Event_Severity.WARNING : Event_Severity.INFO,
      message: `${agentId} uses ${used} of ${resource}, ${words} than the ${reserved} that are reserved there`,
      actor: 'rule:usage',
      agentId,
      attributes: {
        resource,
        used: `${used}`,
        reserved: `${reserved}`,
        ratio: (used / reserved).toFixed(3),
        threshold: `${tell === 'above' ? thresholds.high : thresholds.low}`,
        age_seconds: (ageMs / 1000).toFixed(1),
        tasks: ids.sort().slice(0, MAX_NAMED).join(','),
        task_count: `${ids.length}`,
      },
    };
  }
}

const isSame = (a: Mark['usage'] extends ReadonlyMap<string, infer M> ? M : never, b: typeof a): boolean =>
  a.above === b.above &&
  a.below === b.below &&
  a.aboveToldMs === b.aboveToldMs &&
  a.belowToldMs === b.belowToldMs;
