import {
  type AgentOutcome,
  AgentOutcome_State,
  AgentOutcome_StateSchema,
  type Operation,
  Operation_State,
  Operation_StateSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { enumName } from './names.ts';
import { amountWords } from './operation-spec.ts';
import { shownValue } from './state-cells.ts';
import { type Column, renderFields } from './table.ts';
import { bad, dim, good, type Line, plain, type Span, type Style, strong, warn } from './text.ts';
import { formatAgo, formatDuration, formatMs, formatTime, timestampMs } from './time.ts';

export const operationColumns: readonly Column[] = [
  { title: 'OPERATION' },
  { title: 'COMMAND', shrinkTo: 8 },
  { title: 'STATE' },
  { title: 'WAVE', align: 'right' },
  { title: 'AGENTS', align: 'right' },
  { title: 'DONE', align: 'right' },
  { title: 'FAILED', align: 'right' },
  { title: 'STARTED', align: 'right', dropOrder: 1 },
  { title: 'BY', shrinkTo: 8, dropOrder: 2 },
  { title: 'DETAIL', shrinkTo: 16, dropOrder: 3 },
];

export function operationCells(operation: Operation, nowMs: number): Span[] {
  const { id, spec, wave, waves, agents, startTime, actor, detail } = operation;
  const failed = countOf(operation, AgentOutcome_State.FAILED);
  return [
    strong(id),
    plain(spec?.command ?? ''),
    operationSpan(operation),
    plain(`${wave}/${waves}`),
    plain(`${agents}`),
    plain(`${countOf(operation, AgentOutcome_State.DONE)}`),
    failed === 0 ? dim('0') : bad(`${failed}`),
    dim(formatAgo(startTime, nowMs)),
    dim(actor),
    plain(detail),
  ];
}

export const agentColumns: readonly Column[] = [
  { title: 'WAVE', align: 'right' },
  { title: 'AGENT', shrinkTo: 16 },
  { title: 'STATE' },
  { title: 'SEEN', dropOrder: 2 },
  { title: 'TRIES', align: 'right', dropOrder: 3 },
  { title: 'SINCE', align: 'right', dropOrder: 1 },
  { title: 'SAID', shrinkTo: 16 },
];

export function agentCells(agent: AgentOutcome, nowMs: number): Span[] {
  const { wave, agentId, state, verified, tries, updateTime } = agent;
  return [
    dim(`${wave}`),
    strong(agentId),
    outcomeSpan(state),
    state === AgentOutcome_State.DONE ? (verified ? good('yes') : warn('no')) : plain(''),
    tries > 1 ? warn(`${tries}`) : dim(tries === 0 ? '' : `${tries}`),
    dim(updateTime === undefined ? '' : formatAgo(updateTime, nowMs)),
    plain(saidBy(agent)),
  ];
}

/** What an agent said, or what was in its way. */
export function saidBy({ error, output, outputTruncated }: AgentOutcome): string {
  if (error !== '') return error;
  return output === undefined ? '' : `${shownValue(output)}${outputTruncated ? '…' : ''}`;
}

export function operationSpan({ state, endTime }: Operation): Span {
  const word = enumName(Operation_StateSchema, state).toLowerCase().replaceAll('_', ' ');
  switch (state) {
    case Operation_State.RUNNING:
      return strong(word);
    case Operation_State.SUCCEEDED:
      return good(word);
    case Operation_State.STOPPED:
      return bad(word);
    case Operation_State.CANCELLED:
      return warn(endTime === undefined ? 'cancelling' : word);
    default:
      return warn(word);
  }
}

export function outcomeSpan(state: AgentOutcome_State): Span {
  const word = enumName(AgentOutcome_StateSchema, state).toLowerCase();
  switch (state) {
    case AgentOutcome_State.DONE:
      return good(word);
    case AgentOutcome_State.FAILED:
      return bad(word);
    case AgentOutcome_State.WAITING:
      return dim(word);
    default:
      return plain(word);
  }
}

export const countOf = ({ counts }: Operation, state: AgentOutcome_State): number =>
  counts.find((each) => each.state === state)?.count ?? 0;

/** "18 done, 2 failed, 180 waiting". */
export function countsLine({ counts }: Operation): Line {
  const spans = [...counts].reverse().flatMap(({ state, count }, index) => {
    const { text, tone } = outcomeSpan(state);
    const span: Span = { text: `${count} ${text}`, ...(tone === undefined ? {} : { tone }) };
    return index === 0 ? [span] : [plain(', '), span];
  });
  return spans.length === 0 ? [dim('nobody')] : spans;
}

/** An operation with all that is known of it. */
export function renderOperation(operation: Operation, style: Style, nowMs: number): string[] {
  const { id, namespace, spec, detail, actor, startTime, endTime, wave, waves, agents, revision } = operation;
  const fields: [string, Line][] = [
    ['operation', [strong(id)]],
    ['namespace', [plain(namespace)]],
    [
      'command',
      [plain(spec?.command ?? ''), ...(spec?.arguments ? [dim(` ${shownValue(spec.arguments)}`)] : [])],
    ],
    ['state', [operationSpan(operation), ...(detail === '' ? [] : [plain(`: ${detail}`)])]],
    ['wave', [plain(`${wave} of ${waves}`), ...nextWave(operation, nowMs)]],
    ['agents', [plain(`${agents}: `), ...countsLine(operation)]],
    ['started', [plain(formatTime(startTime)), dim(` (${formatAgo(startTime, nowMs)}) by ${actor}`)]],
  ];
  if (endTime !== undefined && startTime !== undefined) {
    const tookMs = timestampMs(endTime) - timestampMs(startTime);
    fields.push([
      'ended',
      [plain(formatTime(endTime)), dim(` (${formatAgo(endTime, nowMs)}), after ${formatMs(tookMs)}`)],
    ]);
  }
  if (spec !== undefined) {
    if (spec.reason !== '') fields.push(['reason', [plain(spec.reason)]]);
    fields.push(['limits', [plain(amountWords(spec))]]);
    if (spec.wavePause !== undefined) fields.push(['wave pause', [plain(formatDuration(spec.wavePause))]]);
  }
  fields.push(['revision', [plain(`${revision}`)]]);
  return renderFields(fields, style);
}

/** ", the next in 12s", during a pause between two. */
export function nextWave({ nextWaveTime, state, endTime }: Operation, nowMs: number): Line {
  if (nextWaveTime === undefined || endTime !== undefined || state !== Operation_State.RUNNING) return [];
  const leftMs = timestampMs(nextWaveTime) - nowMs;
  return leftMs <= 0 ? [] : [dim(`, which begins in ${formatMs(leftMs)}`)];
}
