import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { NewEvent } from '../../monitoring/events.ts';
import type { ResourceFigures } from '../pool/types.ts';
import type { FleetReader } from '../rebalance/fleet-reader.ts';
import { inSlices } from '../rebalance/in-slices.ts';
import type { ShrinkMoves } from './shrink-moves.ts';
import { type Mark, type MarkChange, NO_MARK, type WatchMarks } from './watch-marks.ts';

export interface OverReservedOptions {
  directory: AgentDirectory;
  reader: FleetReader;
  marks: WatchMarks;
  clock: Clock;
  /** Moves work away where there is too much; undefined: it stays. */
  moves: ShrinkMoves | undefined;
}

/** All agents are looked at so often; those that changed, and those that are over, each time. */
const ALL_MS = 60_000;

interface Watched {
  changed: Set<string>;
  allMs: number;
}

/**
 * Tells of agents on which more is reserved than may be, which happens when their capacity shrinks: once for each resource
 * when it begins, and once when it is over.
 */
export class OverReserved implements Chore {
  readonly name = 'watch over capacity';
  readonly #options: OverReservedOptions;
  readonly #watched = new Map<string, Watched>();

  constructor(options: OverReservedOptions) {
    this.#options = options;
    options.directory.listen({
      changed: (before, after) => {
        const known = after ?? before;
        if (known !== undefined) this.#watched.get(known.namespace)?.changed.add(known.id);
      },
    });
  }

  async run(context: ChoreContext): Promise<void> {
    const { reader, marks, clock, moves } = this.#options;
    const { namespace, fence, storeMs } = context;
    const pool = reader.pool(namespace);
    if (pool === undefined) return;
    const watched = this.#watched.get(namespace) ?? { changed: new Set(), allMs: Number.NEGATIVE_INFINITY };
    this.#watched.set(namespace, watched);
    const known = await marks.of(namespace, fence);
    const all = known.anew || storeMs - watched.allMs >= ALL_MS;
    const agentIds = new Set(all ? Array.from(pool.agents(), ({ id }) => id) : watched.changed);
    for (const [agentId, { over }] of known.marks) if (over.size > 0) agentIds.add(agentId);
    if (all) watched.allMs = storeMs;
    watched.changed.clear();
    if (agentIds.size === 0) return;
    const changes = await inSlices(this.#look(namespace, agentIds, known.marks, storeMs), clock);
    if (changes.length > 0) await marks.write(namespace, fence, changes);
    if (moves === undefined) return;
    const over = new Set<string>();
    for (const [agentId, mark] of known.marks) if (mark.over.size > 0) over.add(agentId);
    await moves.relieve(context, over);
  }

  *#look(
    namespace: string,
    agentIds: Iterable<string>,
    marks: ReadonlyMap<string, Mark>,
    storeMs: number,
  ): Generator<void, MarkChange[]> {
    const changes: MarkChange[] = [];
    for (const agentId of agentIds) {
      const change = this.#judge(namespace, agentId, marks.get(agentId) ?? NO_MARK, storeMs);
      if (change !== undefined) changes.push(change);
      yield;
    }
    return changes;
  }

  #judge(namespace: string, agentId: string, mark: Mark, storeMs: number): MarkChange | undefined {
    const figures = this.#options.reader.pool(namespace)?.usageOf(agentId);
    const over = new Map(mark.over);
    const events: NewEvent[] = [];
    for (const each of figures?.resources ?? []) {
      if (each.excess <= 0 || over.has(each.resource)) continue;
      over.set(each.resource, storeMs);
      events.push(began(agentId, each));
    }
    for (const [resource, sinceMs] of mark.over) {
      const now = figures?.resources.find((each) => each.resource === resource);
      if (now !== undefined && now.excess > 0) continue;
      over.delete(resource);
      const seconds = Math.max(0, Math.round((storeMs - sinceMs) / 1000));
      events.push(ended(agentId, resource, now, seconds));
    }
    return events.length === 0 ? undefined : { agentId, mark: { ...mark, over }, events };
  }
}

function began(
  agentId: string,
  { resource, reserved, reservable, capacity, excess }: ResourceFigures,
): NewEvent {
  return {
    type: 'resource.over_reserved',
    severity: Event_Severity.WARNING,
    message: `on ${agentId} ${reserved} of ${resource} are reserved, ${excess} more than may be: ${reservable}`,
    actor: 'rule:capacity',
    agentId,
    attributes: {
      resource,
      reserved: `${reserved}`,
      reservable: `${reservable}`,
      capacity: `${capacity}`,
      excess: `${excess}`,
    },
  };
}

function ended(
  agentId: string,
  resource: string,
  figures: ResourceFigures | undefined,
  seconds: number,
): NewEvent {
  const { reserved = 0, reservable = 0 } = figures ?? {};
  return {
    type: 'resource.over_reserved_ended',
    severity: Event_Severity.INFO,
    message: `on ${agentId} no more of ${resource} is reserved than may be: ${reserved} of ${reservable}`,
    actor: 'rule:capacity',
    agentId,
    attributes: { resource, reserved: `${reserved}`, reservable: `${reservable}`, seconds: `${seconds}` },
  };
}
