import { performance } from 'node:perf_hooks';
import { create } from '@bufbuild/protobuf';
import {
  AffinitySchema,
  PlacementSchema,
  Scope,
  SpreadSchema,
} from '../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { AgentPool } from '../src/domain/resource/pool/agent-pool.ts';
import type { Want } from '../src/domain/resource/pool/types.ts';
import { printComparison, printFigure, quantile, say } from './figures.ts';

const bench = 'placement';

/** The median of one decision may take so long, milliseconds, by the number of agents. */
const TARGETS: readonly [agents: number, limitMs: number][] = [
  [1_000, 1],
  [10_000, 3],
];

const ZONES = 8;
const GROUPS = 20;
const MEMORY = 64 * 2 ** 30;

/** One agent in ten has room. */
function fullFleet(agents: number): AgentPool {
  const pool = new AgentPool({ overcommit: {}, defaultSlots: 8, defaultStrategy: 'least_loaded' });
  for (let index = 0; index < agents; index++) {
    const id = `agent-${index}`;
    pool.setAgent({
      ...{ id, uid: id, zone: `zone-${index % ZONES}`, available: true, unavailableWhy: '' },
      labels: {
        zone: `zone-${index % ZONES}`,
        tier: index % 3 === 0 ? 'large' : 'small',
        rack: `r${index % 40}`,
      },
      capabilities: [{ name: 'render', version: index % 2 === 0 ? '1.4.2' : '2.0.1' }],
      capacity: { cpu_milli: 16_000, memory_bytes: MEMORY, slots: 8 },
    });
    pool.setLoad(id, (index % 100) / 100, { cpu_milli: (index * 37) % 16_000 });
    const full = index % 10 !== 0;
    pool.hold(`full-${index}`, {
      agentId: id,
      resources: full
        ? { cpu_milli: 16_000, memory_bytes: MEMORY, slots: 8 }
        : { cpu_milli: 2_000, slots: 2 },
      group: `group-${index % GROUPS}`,
      kind: 'task',
    });
  }
  return pool;
}

const resources = { cpu_milli: 1_000, memory_bytes: 2 ** 30, slots: 1 };

const WANTS: readonly { name: string; want: Want }[] = [
  { name: 'plain', want: { capability: 'render', placement: undefined, resources: { slots: 1 } } },
  {
    name: 'two resources, selector',
    want: {
      capability: 'render',
      placement: create(PlacementSchema, {
        capabilityVersion: '>=1.2',
        selector: 'tier in (large,small),rack',
      }),
      resources,
    },
  },
  {
    name: 'affinity, spread',
    want: {
      capability: 'render',
      placement: create(PlacementSchema, {
        group: 'group-1',
        maxPerAgent: 4,
        affinities: [
          create(AffinitySchema, { group: 'group-2', scope: Scope.ZONE, required: true }),
          create(AffinitySchema, { group: 'group-3', apart: true }),
        ],
        spreads: [
          create(SpreadSchema, { scope: Scope.ZONE, maxSkew: 1_000, required: true }),
          create(SpreadSchema, { scope: Scope.AGENT }),
        ],
      }),
      resources,
    },
  },
];

interface Decisions {
  timesMs: number[];
  placed: number;
}

/** Decides again and again; what was placed is held for ten decisions, so that rooms and counts change. */
function decide(agents: number, want: Want, options: { warmup: number; decisions: number }): Decisions {
  const pool = fullFleet(agents);
  const wantClass = pool.classOf(want);
  const timesMs: number[] = [];
  let placed = 0;
  for (let round = -options.warmup; round < options.decisions; round++) {
    const startMs = performance.now();
    const choice = pool.choose(wantClass);
    const elapsedMs = performance.now() - startMs;
    if (choice !== undefined) {
      const { agentId } = choice;
      pool.hold(`task-${round}`, {
        agentId,
        resources: want.resources,
        group: wantClass.group,
        kind: 'task',
      });
    }
    pool.free(`task-${round - 10}`);
    if (round < 0) continue;
    timesMs.push(elapsedMs);
    if (choice !== undefined) placed += 1;
  }
  return { timesMs, placed };
}

export interface PlacementOptions {
  decisions: number;
  warmup: number;
}

/** Returns whether every target was reached. */
export function placement(options: PlacementOptions): boolean {
  say(`placement: ${options.decisions} decisions each, one agent in ten has room`);
  let met = true;
  for (const [agents, limitMs] of TARGETS) {
    for (const { name, want } of WANTS) {
      const { timesMs, placed } = decide(agents, want, options);
      const subject = `${agents} agents, ${name}`;
      const p50 = quantile(timesMs, 0.5);
      printFigure({ bench, metric: 'p50', subject, value: p50, unit: 'ms' });
      printFigure({ bench, metric: 'p99', subject, value: quantile(timesMs, 0.99), unit: 'ms' });
      const reached = p50 <= limitMs && placed === options.decisions;
      if (placed < options.decisions) say(`  only ${placed} of ${options.decisions} were placed`);
      printComparison({
        bench,
        metric: 'p50',
        subject,
        against: 'target',
        value: p50,
        limit: limitMs,
        met: reached,
      });
      met &&= reached;
    }
  }
  return met;
}
