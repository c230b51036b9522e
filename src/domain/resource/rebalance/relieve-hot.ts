import { PlanRebalanceRequest_Goal } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { amountOf } from '../amounts.ts';
import { costSecondsOf, mayMove } from './fleet.ts';
import { fillOf, levelOf, type ModelAgent } from './fleet-model.ts';
import { AGENT_WORTH_SECONDS, type Planning, percent } from './planning.ts';

/** From this level on an agent can be hot. Above what FREE_AGENTS fills others to: the two never undo each other. */
const HOT_FROM = 0.8;
/** A hot one is so far above the mean of those that have the resource. */
const HOT_ABOVE_MEAN = 0.25;
/** It is relieved until it is at this level, or so near to the mean. */
const RELIEVED_AT = 0.7;
const RELIEVED_ABOVE_MEAN = 0.1;
/** The target stays at least so far below where the source was. */
const BELOW_SOURCE = 0.05;
const NONE: ReadonlySet<string> = new Set();

interface Heat {
  agentId: string;
  resource: string;
  level: number;
  mean: number;
}

/** Agents that are far fuller than others, by the resource at which they are, hottest first. */
function heatOf(planning: Pick<Planning, 'model'>): Heat[] {
  const sums = new Map<string, { level: number; agents: number }>();
  const available = [...planning.model.agents()].filter(({ agent }) => agent.available);
  for (const entry of available) {
    for (const resource of Object.keys(entry.capacity)) {
      if (amountOf(entry.reservable, resource) === 0) continue;
      const sum = sums.get(resource) ?? { level: 0, agents: 0 };
      sum.level += levelOf(entry, resource);
      sum.agents += 1;
      sums.set(resource, sum);
    }
  }
  const heats: Heat[] = [];
  for (const entry of available) {
    let hottest: Heat | undefined;
    for (const [resource, sum] of sums) {
      if (amountOf(entry.reservable, resource) === 0) continue;
      const level = levelOf(entry, resource);
      const mean = sum.level / sum.agents;
      if (level < HOT_FROM || level < mean + HOT_ABOVE_MEAN) continue;
      if (hottest === undefined || level - mean > hottest.level - hottest.mean) {
        hottest = { agentId: entry.agent.id, resource, level, mean };
      }
    }
    if (hottest !== undefined) heats.push(hottest);
  }
  return heats.sort((a, b) => b.level - b.mean - (a.level - a.mean) || (a.agentId < b.agentId ? -1 : 1));
}

/** Moves work off agents that are far fuller than others. */
export function* relieveHot(planning: Planning): Generator<void, void> {
  const { model } = planning;
  for (const heat of heatOf(planning)) {
    yield;
    const source = model.agent(heat.agentId);
    // What was moved here for another goal stays.
    if (source === undefined || planning.targets.has(heat.agentId)) continue;
    const relieved = Math.max(RELIEVED_AT, heat.mean + RELIEVED_ABOVE_MEAN);
    const suits = (target: ModelAgent): boolean =>
      fillOf(target) < HOT_FROM && levelOf(target, heat.resource) <= heat.level - BELOW_SOURCE;
    for (const task of planning.movableOn(heat.agentId)) {
      if (planning.exhausted || levelOf(source, heat.resource) <= relieved) break;
      yield;
      relieve(planning, heat, source, task, suits);
    }
    if (levelOf(source, heat.resource) <= relieved) continue;
    for (const task of planning.tasksOn(heat.agentId)) {
      if (planning.exhausted) break;
      if (mayMove(task)) continue;
      yield;
      // Only what would go if it might is told of.
      const moved = planning.move(task, NONE, suits);
      if (moved === undefined) continue;
      moved.undo();
      planning.notMovable.add(task.id);
    }
  }
}

function relieve(
  planning: Planning,
  heat: Heat,
  source: ModelAgent,
  task: Parameters<Planning['move']>[0],
  suits: (target: ModelAgent) => boolean,
): void {
  const { resource, mean } = heat;
  const before = levelOf(source, resource);
  const costSeconds = costSecondsOf(task);
  // No agent is worth more than a whole one.
  if (costSeconds >= AGENT_WORTH_SECONDS) return;
  const moved = planning.move(task, NONE, suits);
  if (moved === undefined) return;
  const gain = Math.min(1, before - levelOf(source, resource));
  const detail = `${task.agentId} is at ${percent(before)} of its ${resource}, the mean is ${percent(mean)}`;
  const goal = PlanRebalanceRequest_Goal.RELIEVE_HOT;
  planning.settle({
    moves: [{ task, to: moved.to, goal, gain, costSeconds, detail }],
    undos: [moved.undo],
  });
}
