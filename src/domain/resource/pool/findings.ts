import { create } from '@bufbuild/protobuf';
import {
  type AgentScore,
  AgentScoreSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { quote } from '../../../lib/violations.ts';
import { rankOf } from './decider.ts';
import type { AgentEntry, Fleet } from './fleet.ts';
import type { ResourceTable } from './resource-table.ts';
import * as scanning from './scan.ts';
import type { ExplainOptions, PoolAgent } from './types.ts';
import type { WantClass, WantedAmount } from './want-class.ts';

/** In the order in which they are looked at. */
export const CONSTRAINTS = [
  ...(['capability', 'capability_version', 'selector', 'agent_ids', 'not_agent_ids'] as const),
  ...(['phase', 'liveness', 'declined', 'max_per_agent', 'affinity', 'spread'] as const),
  ...(['reserved_for_waiting', 'what_if_drained'] as const),
];

export type Constraint = (typeof CONSTRAINTS)[number];

const LIVENESS = new Set(['never_seen', 'suspect', 'disconnected', 'lost', 'left']);
const MOST_EXAMPLES = 3;
const MOST_SCORES = 10;
/** Distinct words that are told of one constraint (versions, phases, answers). */
const MOST_WORDS = 8;

/** What one constraint excludes. */
export interface ExcludedTally {
  agents: number;
  examples: string[];
  /** What is told of the agents (version, phase, why it declined), with how many it is told of. */
  words: Map<string, number>;
}

export interface ExhaustedTally {
  resource: string;
  table: ResourceTable | undefined;
  needed: number;
  agents: number;
  mostFree: number;
  mostFreeOn: string;
  largest: number;
}

export interface LargestTally {
  resource: string;
  table: ResourceTable | undefined;
  needed: number;
  most: number;
  agentId: string;
}

/** Agents that are still in question, step by step. */
export interface Funnel {
  agents: number;
  capable: number;
  allowed: number;
  /** Also large enough: could have it if they were empty and there. */
  eligible: number;
  there: number;
  willing: number;
  /** Nothing of groups is in the way. */
  uncrowded: number;
  /** With room, also where it is kept free for others. */
  withRoom: number;
  fitting: number;
}

export interface Findings {
  wantClass: WantClass;
  funnel: Funnel;
  excluded: Map<Constraint, ExcludedTally>;
  /** Of the agents that nothing excludes. */
  exhausted: ExhaustedTally[];
  /** Of the agents that the constraints of the agent alone leave: the largest, by need. */
  largest: LargestTally[];
  /** At which step agents that are large enough fall out; in words which constraint, or how it is with them. */
  out: Record<Step, ExcludedTally>;
  /** Of the agents that are large enough and not crowded. */
  full: ExhaustedTally[];
  scores: Scored[];
}

type Step = 'away' | 'declined' | 'crowded' | 'kept';

interface Ranked {
  rank: number;
  chosen: number;
  slot: number;
}

interface Scored extends Ranked {
  score: AgentScore;
}

interface Question {
  fleet: Fleet;
  scan: scanning.Scan;
  wantClass: WantClass;
  options: ExplainOptions;
}

/** Looks at every agent. */
export function findings(question: Question): Findings {
  const { fleet, wantClass } = question;
  const found: Findings = {
    wantClass,
    funnel: {
      ...{ agents: 0, capable: 0, allowed: 0, eligible: 0, there: 0 },
      ...{ willing: 0, uncrowded: 0, withRoom: 0, fitting: 0 },
    },
    excluded: new Map(),
    exhausted: wantClass.needs.map((need) => notExhausted(need, fleet)),
    full: wantClass.needs.map((need) => notExhausted(need, fleet)),
    out: { away: noTally(), declined: noTally(), crowded: noTally(), kept: noTally() },
    largest: wantClass.needs.map(({ name, amount }) => ({
      ...{ resource: name, table: fleet.table(name), needed: amount, most: 0, agentId: '' },
    })),
    scores: [],
  };
  for (let slot = 0; slot < fleet.slots; slot++) {
    const entry = fleet.entryAt(slot);
    if (entry?.agent !== undefined) look(question, found, entry, entry.agent);
  }
  return found;
}

function look(question: Question, found: Findings, entry: AgentEntry, agent: PoolAgent): void {
  const { scan, wantClass, options } = question;
  const { funnel } = found;
  const { slot } = entry;
  funnel.agents += 1;
  const fixed = wantClass.candidates.excludes(agent);
  if (fixed !== 'capability' && fixed !== 'capability_version') funnel.capable += 1;
  if (fixed !== undefined) {
    tally(found, fixed, agent, fixed === 'capability_version' ? versionsOf(agent, wantClass) : '');
    return;
  }
  funnel.allowed += 1;
  for (const one of found.largest) {
    const most = one.table?.reservableOn(slot) ?? 0;
    if (one.agentId !== '' && most <= one.most) continue;
    one.most = most;
    one.agentId = agent.id;
  }
  const excludes = scan.excludes(slot);
  const room = scan.roomOn(slot);
  const [constraint, word] = momentary(excludes, agent, options);
  if (room !== scanning.TOO_SMALL) {
    const drained = options.whatIf?.drained.has(agent.id) === true;
    const isOut = descend(funnel, excludes, { room, drained });
    if (isOut !== undefined) {
      const drainedOnly = isOut === 'away' && excludes !== scanning.AWAY;
      const why = isOut === 'crowded' ? (constraint ?? '') : drainedOnly ? 'supposed to be drained' : word;
      count(found.out[isOut], agent, why);
    } else if (room === scanning.FULL) for (const one of found.full) lacks(one, entry);
  }
  if (constraint !== undefined) {
    tally(found, constraint, agent, word);
    return;
  }
  for (const one of found.exhausted) lacks(one, entry);
  if (room === scanning.ROOM) keepBest(found, question, entry);
}

/** Where an agent that is large enough falls out; undefined: it fits, or only lacks room. */
function descend(
  funnel: Funnel,
  excludes: number,
  agent: { room: number; drained: boolean },
): Step | undefined {
  funnel.eligible += 1;
  if (excludes === scanning.AWAY || agent.drained) return 'away';
  funnel.there += 1;
  if (excludes === scanning.DECLINED) return 'declined';
  funnel.willing += 1;
  if (excludes !== scanning.NOT_EXCLUDED && excludes !== scanning.KEPT_FREE) return 'crowded';
  funnel.uncrowded += 1;
  if (agent.room !== scanning.ROOM) return undefined;
  funnel.withRoom += 1;
  if (excludes !== scanning.NOT_EXCLUDED) return 'kept';
  funnel.fitting += 1;
  return undefined;
}

function momentary(
  excludes: number,
  agent: PoolAgent,
  { exclude, keptFree }: ExplainOptions,
): [Constraint | undefined, string] {
  switch (excludes) {
    case scanning.NOT_EXCLUDED:
      return [undefined, ''];
    case scanning.AWAY: {
      const why = agent.unavailableWhy;
      return [LIVENESS.has(why.toLowerCase().replaceAll(' ', '_')) ? 'liveness' : 'phase', why];
    }
    case scanning.DECLINED:
      return ['declined', quoted(exclude?.get(agent.id))];
    case scanning.MAX_PER_AGENT:
      return ['max_per_agent', ''];
    case scanning.NEARNESS:
      return ['affinity', ''];
    case scanning.SPREAD:
      return ['spread', ''];
    case scanning.KEPT_FREE:
      return ['reserved_for_waiting', keptFree?.get(agent.id) ?? ''];
    default:
      return ['what_if_drained', ''];
  }
}

const quoted = (text = ''): string => (text === '' ? '' : quote(text));

const noTally = (): ExcludedTally => ({ agents: 0, examples: [], words: new Map() });

const notExhausted = ({ name, amount }: WantedAmount, fleet: Fleet): ExhaustedTally => ({
  ...{ resource: name, table: fleet.table(name), needed: amount },
  ...{ agents: 0, mostFree: 0, mostFreeOn: '', largest: 0 },
});

function tally({ excluded }: Findings, constraint: Constraint, agent: PoolAgent, word: string): void {
  let one = excluded.get(constraint);
  if (one === undefined) {
    one = noTally();
    excluded.set(constraint, one);
  }
  count(one, agent, word);
}

function count(one: ExcludedTally, agent: PoolAgent, word: string): void {
  one.agents += 1;
  if (one.examples.length < MOST_EXAMPLES) one.examples.push(agent.id);
  if (word === '') return;
  const told = one.words.get(word);
  if (told !== undefined || one.words.size < MOST_WORDS) one.words.set(word, (told ?? 0) + 1);
}

function versionsOf(agent: PoolAgent, { candidates }: WantClass): string {
  const versions = agent.capabilities.filter(({ name }) => name === candidates.capability);
  return versions.map(({ version }) => quoted(version) || 'none').join(', ');
}

function lacks(one: ExhaustedTally, { id, slot }: AgentEntry): void {
  const { table } = one;
  const free = Math.max(0, table?.freeOn(slot) ?? 0);
  if (free >= one.needed) return;
  one.agents += 1;
  if (one.mostFreeOn === '' || free > one.mostFree) {
    one.mostFree = free;
    one.mostFreeOn = id;
  }
  one.largest = Math.max(one.largest, table?.reservableOn(slot) ?? 0);
}

/** Keeps it if it is among the best. */
function keepBest({ scores }: Findings, question: Question, { id, slot }: AgentEntry): void {
  const { scan, wantClass, fleet } = question;
  const score = scan.score(slot);
  const one = { rank: rankOf(score), slot, chosen: fleet.chosen[slot] ?? 0 };
  const worst = scores.at(-1);
  if (scores.length === MOST_SCORES && worst !== undefined && !isBetter(one, worst)) return;
  const base = { binpack: 'fill', spread: 'room', least_loaded: 'load' }[wantClass.strategy];
  const parts: Record<string, number> = { [base]: scan.base };
  if (wantClass.nearness.some(({ required }) => !required)) parts.affinity = scan.affinity;
  if (wantClass.spreads.some(({ required }) => !required)) parts.spread = scan.evenness;
  const scored = { ...one, score: create(AgentScoreSchema, { agentId: id, score, parts }) };
  const at = scores.findIndex((other) => isBetter(one, other));
  scores.splice(at < 0 ? scores.length : at, 0, scored);
  if (scores.length > MOST_SCORES) scores.pop();
}

/** In the order in which they would be chosen. */
function isBetter(one: Ranked, other: Ranked): boolean {
  if (one.rank !== other.rank) return one.rank > other.rank;
  return one.chosen === other.chosen ? one.slot < other.slot : one.chosen < other.chosen;
}
