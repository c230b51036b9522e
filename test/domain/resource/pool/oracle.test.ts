import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  PendingReason,
  type PlacementExplanation,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { AgentPool } from '../../../../src/domain/resource/pool/agent-pool.ts';
import { type Ask, judge, type Verdict, type World } from './oracle.ts';
import { agent, ask, carryOut, ids, newWorld, step } from './small-fleets.ts';

const RUNS = Number(process.env.POOL_RUNS ?? 700);
const SEED = Number(process.env.POOL_SEED ?? 20261122);

/** What came up: a generator that never makes a case checks nothing of it. */
const seen = new Set<string | PendingReason>();

function checkExplanation(explained: PlacementExplanation, verdict: Verdict, agents: number): void {
  expect(explained.reason).toBe(verdict.reason);
  seen.add(verdict.reason);
  for (const constraint of verdict.excluded.keys()) seen.add(constraint);
  expect(explained.placeable).toBe(verdict.scores.size > 0);
  expect(explained.agents).toBe(agents);
  expect(explained.eligible).toBe(verdict.eligible);
  expect(explained.couldEver).toBe(verdict.eligible > 0);
  expect(explained.fitting).toBe(verdict.scores.size);
  const excluded = explained.excluded.map(({ constraint, agents: count }) => [constraint, count]);
  expect(Object.fromEntries(excluded)).toEqual(
    Object.fromEntries([...verdict.excluded].map(([constraint, which]) => [constraint, which.length])),
  );
  for (const { constraint, examples, detail } of explained.excluded) {
    expect(verdict.excluded.get(constraint)).toEqual(expect.arrayContaining(examples));
    expect(detail).not.toBe('');
  }
  expect(
    explained.exhausted.map(({ resource, agents: count, mostFree, largestCapacity }) => [
      resource,
      { agents: count, mostFree: Number(mostFree), largest: Number(largestCapacity) },
    ]),
  ).toEqual([...verdict.exhausted].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  const scores = explained.scores.map(({ agentId, score }) => [agentId, score] as const);
  expect(new Set(scores.map(([agentId]) => agentId))).toEqual(new Set(verdict.scores.keys()));
  for (const [agentId, score] of scores) expect(score).toBeCloseTo(verdict.scores.get(agentId) ?? -1, 9);
  expect(explained.scores.map(({ score }) => Math.round(score * 1e8))).toEqual(
    explained.scores.map(({ score }) => Math.round(score * 1e8)).toSorted((a, b) => b - a),
  );
  expect(explained.detail).not.toBe('');
  expect(explained.detail).not.toContain('undefined');
}

function answer(pool: AgentPool, world: World, given: Ask): void {
  const now = { ...given, drained: new Set<string>(), capacities: new Map() };
  const verdict = judge(world, now);
  const wantClass = pool.classOf(given.want);
  const { exclude, keptFree, forKey } = given;
  const declined = new Map([...exclude].map((agentId) => [agentId, 'busy']));
  const explained = pool.explain(wantClass, { exclude: declined, keptFree, forKey });
  checkExplanation(explained, verdict, world.agents.size);

  const choice = pool.choose(wantClass, { exclude, keptFree, forKey });
  expect(choice === undefined).toBe(verdict.scores.size === 0);
  if (choice !== undefined) {
    expect(explained.agentId).toBe(choice.agentId);
    expect(verdict.scores.get(choice.agentId)).toBeCloseTo(Math.max(...verdict.scores.values()), 8);
    expect(choice).toMatchObject({ fitting: verdict.scores.size, eligible: verdict.eligible });
  }
  for (const agentId of ids) {
    expect(pool.fits(wantClass, agentId, { exclude, keptFree, forKey })).toBe(verdict.scores.has(agentId));
  }

  const whatIf = { drained: given.drained, capacities: given.capacities };
  const supposed = pool.explain(wantClass, { exclude: declined, keptFree, forKey, whatIf });
  checkExplanation(supposed, judge(world, given), world.agents.size);
  expect(pool.explain(wantClass, { exclude: declined, keptFree, forKey }).fitting).toBe(verdict.scores.size);
  pool.release(wantClass);
}

test('choosing and explaining agree with an exhaustive search, whatever came before', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<World['defaultStrategy']>('binpack', 'spread', 'least_loaded'),
      fc.array(agent, { minLength: 3, maxLength: 6 }),
      fc.array(step, { minLength: 5, maxLength: 25 }),
      ask,
      (strategy, agents, steps, last) => {
        const world = newWorld(strategy);
        const pool = new AgentPool(world);
        for (const one of agents) carryOut(pool, world, { do: 'agent', agent: one });
        for (const one of steps) {
          if (one.do === 'ask') answer(pool, world, one.ask);
          else carryOut(pool, world, one);
        }
        answer(pool, world, last);
      },
    ),
    { numRuns: RUNS, seed: SEED },
  );
  const { UNSPECIFIED, NO_CAPABILITY, CONSTRAINTS, TOO_LARGE, AGENTS_AWAY, NO_ROOM, DECLINED, TURN } =
    PendingReason;
  const reasons = [UNSPECIFIED, NO_CAPABILITY, CONSTRAINTS, TOO_LARGE, AGENTS_AWAY, NO_ROOM, DECLINED, TURN];
  const fixed = ['capability', 'capability_version', 'selector', 'agent_ids', 'not_agent_ids'];
  const momentary = ['phase', 'liveness', 'declined', 'max_per_agent', 'affinity', 'spread'];
  const others = ['reserved_for_waiting', 'what_if_drained'];
  expect(seen).toEqual(new Set([...reasons, ...fixed, ...momentary, ...others]));
}, 60_000);
