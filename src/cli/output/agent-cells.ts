import {
  type Agent,
  Agent_Liveness,
  Agent_LivenessSchema,
  Agent_Phase,
  Agent_PhaseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { answeredAtMs, type Freshness } from './freshness.ts';
import { enumName } from './names.ts';
import { noteOf } from './standing.ts';
import { type Column, renderTable } from './table.ts';
import { dim, plain, type Span, type Style, strong, type Tone, warn } from './text.ts';
import { formatDuration, formatMs } from './time.ts';

const absent = dim('–');

const agentColumns: readonly Column[] = [
  { title: 'ID', shrinkTo: 12 },
  { title: 'KIND', shrinkTo: 8, dropOrder: 2 },
  { title: 'PHASE', dropOrder: 3 },
  { title: 'LIVENESS' },
  { title: 'HEALTH', align: 'right' },
  { title: 'RTT P50/P95', align: 'right', dropOrder: 5 },
  { title: 'LOAD', align: 'right', dropOrder: 4 },
  { title: 'READING', align: 'right' },
  { title: 'VERSION', shrinkTo: 7, dropOrder: 7 },
];

/** What orders and policies did, where that is worth a look. Shown if there is anything to show. */
const noteColumn: Column = { title: 'NOTE', shrinkTo: 12, dropOrder: 6 };

const wideColumns: readonly Column[] = [
  { title: 'CAPABILITIES', shrinkTo: 12, dropOrder: 8 },
  { title: 'LABELS', shrinkTo: 12, dropOrder: 9 },
  { title: 'REPLICA', shrinkTo: 8, dropOrder: 10 },
  { title: 'PEER', dropOrder: 11 },
  { title: 'REVISION', align: 'right', dropOrder: 12 },
];

/** Agents as a table: each with how current its reading is. */
export function agentTable(
  agents: readonly { agent: Agent; freshness: Freshness }[],
  { wide, style, nowMs }: { wide: boolean; style: Style; nowMs: number },
): string[] {
  const notes = agents.map(({ agent }) => noteOf(agent, answeredAtMs(agent, nowMs)));
  const noted = notes.some((note) => note !== '');
  const columns = [...agentColumns, ...(noted ? [noteColumn] : []), ...(wide ? wideColumns : [])];
  const rows = agents.map(({ agent, freshness }, at) => [
    ...agentCells(agent, freshness),
    ...(noted ? [plain(notes[at] ?? '')] : []),
    ...(wide ? wideCells(agent) : []),
  ]);
  return renderTable(columns, rows, style);
}

/** One agent as cells of agentColumns. */
function agentCells(agent: Agent, freshness: Freshness): Span[] {
  const { spec, observation } = agent;
  const trip = observation?.roundTrip;
  const load = observation?.report?.load;
  return [
    strong(agent.id),
    plain(spec?.kind ?? ''),
    phaseSpan(agent.phase),
    livenessSpan(agent.liveness, freshness),
    healthSpan(agent, freshness),
    reading(trip && `${formatDuration(trip.p50)}/${formatDuration(trip.p95)}`, freshness),
    reading(load?.toFixed(2), freshness, load !== undefined && load >= 0.8 ? 'warn' : 'plain'),
    ageSpan(freshness),
    plain(spec?.version ?? ''),
  ];
}

/** The same as cells of wideColumns. */
function wideCells({ spec, observation, revision }: Agent): Span[] {
  return [
    plain((spec?.capabilities ?? []).map(({ name }) => name).join(',')),
    plain(pairs(spec?.labels ?? {})),
    plain(observation?.replicaId ?? ''),
    plain(observation?.peer ?? ''),
    plain(String(revision)),
  ];
}

/** `a=1,b=2`, by key. */
export function pairs(record: Readonly<Record<string, string | bigint>>): string {
  return Object.entries(record)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

export function phaseSpan(phase: Agent_Phase): Span {
  const tones: Partial<Record<Agent_Phase, Tone>> = {
    [Agent_Phase.ACTIVE]: 'plain',
    [Agent_Phase.QUARANTINED]: 'warn',
    [Agent_Phase.DRAINING]: 'warn',
  };
  return { text: enumName(Agent_PhaseSchema, phase), tone: tones[phase] ?? 'dim' };
}

/** A liveness that no recent reading supports is marked with a question mark. */
export function livenessSpan(liveness: Agent_Liveness, freshness?: Freshness): Span {
  const name = enumName(Agent_LivenessSchema, liveness);
  if (freshness?.kind === 'stale') return warn(`${name}?`);
  const tones: Partial<Record<Agent_Liveness, Tone>> = {
    [Agent_Liveness.CONNECTED]: 'good',
    [Agent_Liveness.SUSPECT]: 'warn',
    [Agent_Liveness.DISCONNECTED]: 'warn',
    [Agent_Liveness.LOST]: 'bad',
  };
  return { text: name, tone: tones[liveness] ?? 'dim' };
}

/** Health as it is now: none without a session, in parentheses when nobody measures. */
export function healthSpan(agent: Agent, freshness: Freshness): Span {
  const score = agent.observation?.health?.score;
  return reading(score?.toFixed(2), freshness, score === undefined ? 'plain' : shareTone(score));
}

/** A measured value: as it is while current, `(in parentheses)` when stale, nothing when it is of the past. */
export function reading(text: string | undefined, freshness: Freshness, tone: Tone = 'plain'): Span {
  if (text === undefined || freshness.kind === 'past' || freshness.kind === 'none') return absent;
  return freshness.kind === 'stale' ? dim(`(${text})`) : { text, tone };
}

export function ageSpan(freshness: Freshness): Span {
  if (freshness.kind === 'none') return absent;
  const age = freshness.ageMs === undefined ? 'no age' : formatMs(freshness.ageMs);
  if (freshness.kind === 'current') return plain(age);
  return freshness.kind === 'stale' ? warn(`${age} stale`) : dim(`${age} old`);
}

/** Good from 0.9, bad below 0.5. */
export function shareTone(share: number): Tone {
  if (share >= 0.9) return 'good';
  return share >= 0.5 ? 'warn' : 'bad';
}
