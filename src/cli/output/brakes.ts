import type {
  BrakeStatus,
  FreezeStatus,
  SystemStatus,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { byWords } from './standing.ts';
import { bad, dim, type Line, plain, strong, warn } from './text.ts';
import { formatDuration, formatMs, formatTime, timestampMs } from './time.ts';

/**
 * What holds automatic action back, and what to type if that is wrong. `nowMs`: the clock of who answered; `told`: why
 * the state is not OK, as far as that is told beside it.
 */
export function heldLines(
  { brakes, freezes }: SystemStatus,
  nowMs: number,
  told: readonly string[] = [],
): Line[] {
  return [
    ...brakes.flatMap((brake) => {
      const known = told.some((reason) => reason.includes(brake.detail));
      return brakeLines(known ? { ...brake, detail: '' } : brake, { nowMs, advice: true });
    }),
    ...freezes.flatMap((freeze) => freezeLines(freeze, nowMs)),
  ];
}

export function brakeLines(
  brake: BrakeStatus,
  { nowMs, advice }: { nowMs?: number; advice: boolean },
): Line[] {
  const { namespace, zone, failing, agents, threshold, held, confirmed } = brake;
  const where = zone === '' ? `namespace ${namespace}` : `zone ${zone} of namespace ${namespace}`;
  const share = agents > 0 ? `, ${percent(failing / agents)}` : '';
  const since =
    nowMs === undefined || brake.startTime === undefined
      ? ''
      : ` for ${formatMs(Math.max(0, nowMs - timestampMs(brake.startTime)))}`;
  const lines: Line[] = [
    [bad('BRAKE'), plain(' on in '), strong(where), plain(since)],
    [plain(`  ${failing} of ${agents} agents in trouble${share} (brake from ${percent(threshold)})`)],
  ];
  if (brake.detail !== '') lines.push([plain(`  ${brake.detail}`)]);
  const goesOn =
    brake.releaseIn === undefined
      ? 'they go on only after a confirmation'
      : `they go on by themselves in ${formatDuration(brake.releaseIn)} if it lasts`;
  const going = 'confirmed, and going on at a limited rate';
  const then = confirmed === 0 ? `; ${goesOn}` : `, ${confirmed} of them ${going}; ${goesOn}`;
  const waits = held === 1 ? '1 action waits' : `${held} actions wait`;
  lines.push([plain('  '), warn(waits), plain(held > 0 && confirmed >= held ? `: ${going}` : then)]);
  if (advice && held > confirmed) {
    const command = [
      'orchestrator losses confirm',
      ...(namespace === 'default' ? [] : [`-n ${word(namespace)}`]),
      ...(zone === '' ? [] : [`--zone ${word(zone)}`]),
      "--reason '…'",
    ];
    // On a line of its own: what is to be typed must not be cut off by a narrow terminal.
    lines.push([dim('  if the loss is real:')], [plain(`    ${command.join(' ')}`)]);
  }
  return lines;
}

function freezeLines(freeze: FreezeStatus, nowMs: number): Line[] {
  const { namespace, actor, reason, startTime, endTime } = freeze;
  const since = startTime === undefined ? '' : `since ${formatTime(startTime)}, `;
  const until =
    endTime === undefined
      ? 'until it is enabled'
      : `for ${formatMs(Math.max(0, timestampMs(endTime) - nowMs))} more`;
  const command = `orchestrator automation enable${namespace === 'default' ? '' : ` -n ${word(namespace)}`}`;
  return [
    [warn('FROZEN'), plain(': no automatic action in '), strong(`namespace ${namespace}`)],
    [plain(`  ${since}${until}`), dim(byWords(actor)), plain(reason === '' ? '' : `: ${reason}`)],
    [dim('  to let it go on:')],
    [plain(`    ${command}`)],
  ];
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}

/** A word of a command line that can be copied into a shell whatever it holds. */
function word(text: string): string {
  return /^[A-Za-z0-9._-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
