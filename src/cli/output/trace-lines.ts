import {
  type MessageTrace,
  MessageTrace_Step,
  MessageTrace_StepSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { enumName } from './names.ts';
import { shownValue } from './state-cells.ts';
import { dim, type Line, pad, plain, type Span, strong, type Tone, warn } from './text.ts';
import { durationMs, formatClock, formatMs, formatTime, timestampMs } from './time.ts';

const S = MessageTrace_Step;
const tones: Partial<Record<MessageTrace_Step, Tone>> = {
  [S.DONE]: 'good',
  [S.DECLINED]: 'warn',
  [S.FAILED]: 'warn',
  [S.DEAD_LETTER]: 'bad',
  [S.WITHDRAWN]: 'warn',
  [S.MUTED]: 'warn',
  [S.THROTTLED]: 'warn',
};
/** As long as the longest of those that are common. */
const STEP_WIDTH = 11;

/** A step of a message on a line of its own. */
export function traceLine(trace: MessageTrace): Line {
  const { step, source, agentId, type, messageId, call } = trace;
  const name = enumName(MessageTrace_StepSchema, step);
  return [
    dim(`${clock(trace)} `),
    { text: pad(name, STEP_WIDTH, 'left'), tone: tones[step] ?? 'plain' },
    plain(' '),
    plain(source),
    dim(' → '),
    strong(agentId),
    plain(`  ${call ? 'call ' : ''}${type} `),
    dim(messageId),
    ...details(trace),
  ];
}

function details(trace: MessageTrace): Span[] {
  const { step, target, agentId, tries, latency, count, reason, error, policyId, fromAgentId } = trace;
  const spans: Span[] = [];
  const say = (text: string): number => spans.push(dim(`  ${text}`));
  if (fromAgentId !== '') say(`${step === S.MOVED ? 'from' : 'instead of'} ${fromAgentId}`);
  else if (target !== `agent:${agentId}`) say(`to ${target}`);
  if (step === S.STORED || step === S.REROUTED) say(`${trace.bytes} B`);
  else if (latency !== undefined && trace.revision !== 0n) say(`after ${formatMs(durationMs(latency))}`);
  if (tries > 1) say(`try ${tries}`);
  if (policyId !== '') say(`policy ${policyId}`);
  if (count > 1) say(`×${count}`);
  const known = reason === enumName(MessageTrace_StepSchema, step).toLowerCase();
  const why = [known ? '' : reason, error].filter((text) => text !== '').join(': ');
  if (why !== '') spans.push(warn(`  ${why}`));
  if (trace.retryTime !== undefined) say(`again at ${formatTime(trace.retryTime).slice(-8)}`);
  if (trace.data !== undefined) spans.push(plain(`  ${shownValue(trace.data)}`));
  return spans;
}

/** Local time of day with milliseconds. */
function clock({ time }: MessageTrace): string {
  if (time === undefined) return '–';
  const ms = timestampMs(time);
  const rest = String(Math.floor(ms) % 1000).padStart(3, '0');
  return `${formatClock(new Date(ms))}.${rest}`;
}
