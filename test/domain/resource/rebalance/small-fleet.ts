import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Placement,
  PlacementSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { AgentPool } from '../../../../src/domain/resource/pool/agent-pool.ts';
import type { PoolAgent } from '../../../../src/domain/resource/pool/types.ts';
import { groupOf } from '../../../../src/domain/resource/pool/want-class.ts';
import type {
  Fleet,
  PlacedTask,
  Resident,
  WaitingTask,
} from '../../../../src/domain/resource/rebalance/fleet.ts';
import { FleetModel } from '../../../../src/domain/resource/rebalance/fleet-model.ts';
import {
  type PlanOptions,
  type PlanOutcome,
  planMoves,
} from '../../../../src/domain/resource/rebalance/planner.ts';

/** A fleet in a few lines; everything can do "work" and a task takes one slot. */
export class SmallFleet {
  readonly pool: AgentPool;
  readonly tasks: PlacedTask[] = [];
  readonly others: Resident[] = [];
  readonly waiting: WaitingTask[] = [];
  readonly keptFree = new Set<string>();

  constructor({ overcommit = {} }: { overcommit?: Record<string, number> } = {}) {
    this.pool = new AgentPool({ overcommit, defaultSlots: 1, defaultStrategy: 'least_loaded' });
  }

  agent(id: string, capacity: Record<string, number>, more: Partial<PoolAgent> = {}): this {
    this.pool.setAgent({
      id,
      uid: `uid-${id}`,
      labels: {},
      zone: '',
      capabilities: [{ name: 'work', version: '1' }],
      capacity,
      available: true,
      unavailableWhy: '',
      ...more,
    });
    return this;
  }

  task(
    id: string,
    agentId: string,
    resources: Record<string, number>,
    more: Partial<PlacedTask> & { placement?: Placement } = {},
  ): this {
    const { placement, ...rest } = more;
    const key = `task-${id}-1`;
    const task: PlacedTask = {
      ...{ id, attempt: 1, key, agentId },
      want: { capability: 'work', placement, resources: { slots: 1, ...resources } },
      ...{ movable: true, accepted: true, ranMs: 1000, priority: 0, exclude: new Set<string>() },
      ...rest,
    };
    this.tasks.push(task);
    const group = groupOf(task.want);
    this.pool.hold(key, { agentId, resources: task.want.resources, group, kind: 'task' });
    return this;
  }

  allocation(id: string, agentId: string, resources: Record<string, number>): this {
    const key = `alloc/${id}`;
    this.others.push({ key, agentId, want: { capability: '', placement: undefined, resources } });
    this.pool.hold(key, { agentId, resources, group: '', kind: 'allocation' });
    return this;
  }

  waits(id: string, resources: Record<string, number>, placement?: Placement): this {
    const want = { capability: 'work', placement, resources: { slots: 1, ...resources } };
    this.waiting.push({ id, want, exclude: new Set() });
    return this;
  }

  fleet(): Fleet {
    const { pool, tasks, others, waiting, keptFree } = this;
    return { pool: pool.copy(), tasks, others, waiting, keptFree, reportsSinceMs: 0 };
  }

  plan(goals: PlanOptions['goals'] = new Set(), maxMoves = 20): PlanOutcome {
    const model = finished(FleetModel.of(this.fleet()));
    return finished(planMoves({ model, goals, maxMoves }));
  }
}

/** What comes of work that goes step by step. */
export function finished<T>(steps: Generator<void, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

export const placed = (how: Exclude<MessageInitShape<typeof PlacementSchema>, { $typeName: string }>) =>
  create(PlacementSchema, how);

/** "t1: a->b" for each move. */
export const inShort = ({ moves }: PlanOutcome): string[] =>
  moves.map(({ task, to }) => `${task.id}: ${task.agentId}->${to}`);
