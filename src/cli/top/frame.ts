import {
  SystemStatus_State,
  SystemStatus_StateSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { livenessSpan } from '../output/agent-cells.ts';
import { formatFigure } from '../output/figures.ts';
import { enumName } from '../output/names.ts';
import { gauge } from '../output/sparkline.ts';
import { alertSpans, readingSpans } from '../output/status-monitoring.ts';
import {
  bad,
  dim,
  displayWidth,
  good,
  type Line,
  plain,
  renderLine,
  type Span,
  type Style,
  strong,
  warn,
} from '../output/text.ts';
import { durationMs, formatClock, formatDuration, formatMs, timestampMs } from '../output/time.ts';
import { type Look, VIEWS } from './keys.ts';
import type { TopModel } from './model.ts';
import { viewRows } from './views.ts';

export interface FrameOptions {
  style: Style & { columns: number };
  rows: number;
  /** Monotonic milliseconds. */
  nowMs: number;
  /** What broke the stream; undefined: it is up. */
  trouble: string | undefined;
}

export interface Frame {
  /** As many as the terminal has rows, none wider than it. */
  lines: string[];
  /** The offset that was shown: never beyond the last row. */
  offset: number;
  /** Rows of the table that fit. */
  page: number;
}

/** Silence after which the picture is marked as old. */
const OLD_MS = 5000;

/** The whole screen. Pure. */
export function drawFrame(model: TopModel, look: Look, options: FrameOptions): Frame {
  const { style, rows, nowMs, trouble } = options;
  const ageMs = model.heardMs === undefined ? undefined : nowMs - model.heardMs;
  const isOld = trouble !== undefined || (ageMs !== undefined && ageMs > OLD_MS);
  // What is old is shown without colours: nobody is to take its OK for one of now.
  const inner = isOld ? { ...style, colour: false } : style;
  const head = [
    titleLine(model, style, ageMs, trouble, isOld),
    ...summaryLines(model).map((line) => renderLine(line, inner)),
    tabLine(model, look, style),
  ];
  const room = Math.max(1, rows - head.length - 1);
  const body = look.help ? HELP.map((line) => renderLine([plain(line)], style)) : undefined;
  const page = Math.max(1, room - 1);
  const table = body ?? viewRows(model, look, inner, nowMs, { from: look.offset, rows: page });
  const [title = '', ...data] = table;
  const offset = Math.max(0, Math.min(look.offset, data.length - page));
  const shown = body === undefined ? [title, ...data.slice(offset, offset + page)] : body.slice(0, room);
  const filler = new Array<string>(Math.max(0, room - shown.length)).fill('');
  const foot = footLine(look, {
    from: offset + 1,
    to: Math.min(data.length, offset + page),
    of: data.length,
  });
  return { lines: [...head, ...shown, ...filler, renderLine(foot, style)].slice(0, rows), offset, page };
}

const states: Partial<Record<SystemStatus_State, (text: string) => Span>> = {
  [SystemStatus_State.OK]: good,
  [SystemStatus_State.DEGRADED]: warn,
  [SystemStatus_State.CRITICAL]: bad,
};

function titleLine(
  { status, replicaId }: TopModel,
  style: FrameOptions['style'],
  ageMs: number | undefined,
  trouble: string | undefined,
  isOld: boolean,
): string {
  const age = ageMs === undefined ? 'nothing yet' : `${formatMs(Math.floor(ageMs / 1000) * 1000)} ago`;
  if (isOld) {
    const why = trouble === undefined ? 'no news' : trouble;
    return renderLine([bad(`CONNECTION LOST `), plain(`what is shown is from ${age}: ${why}`)], style);
  }
  if (status === undefined) return renderLine([dim('waiting for the service…')], style);
  const state = enumName(SystemStatus_StateSchema, status.state);
  const left: Span[] = [
    (states[status.state] ?? warn)(state),
    plain('  '),
    strong(status.orchestratorId),
    plain(` ${status.orchestratorName} ${status.version}`),
  ];
  const clock = status.time === undefined ? '' : formatClock(new Date(timestampMs(status.time)));
  const right = `by ${replicaId} ${clock}`;
  const gap = style.columns - widthOf(left) - displayWidth(right);
  return renderLine(gap > 1 ? [...left, plain(' '.repeat(gap)), dim(right)] : left, style);
}

const widthOf = (line: Line): number => line.reduce((sum, { text }) => sum + displayWidth(text), 0);

const GAUGE = 10;

function summaryLines({ status }: TopModel): Line[] {
  if (status === undefined) return [[plain('')], [plain('')], [plain('')]];
  const { fleet, store, replicas, readings } = status;
  const agents: Span[] = [plain('agents  '), strong(String(fleet?.agents ?? 0))];
  for (const { liveness, count } of fleet?.byLiveness ?? []) {
    if (count > 0) agents.push(plain(`  ${count} `), livenessSpan(liveness));
  }
  if (status.pendingDeliveries > 0) agents.push(dim(`  ${status.pendingDeliveries} deliveries under way`));
  const figures: Span[] = [plain('figures ')];
  if (readings.length > 0) {
    for (const [at, reading] of readings.entries()) {
      if (at > 0) figures.push(plain('  '));
      figures.push(...readingSpans(reading));
    }
  } else {
    const { health, load, rttP95 } = fleet ?? {};
    figures.push(plain('health '), strong(formatFigure(health, 'ratio')));
    figures.push(plain('  load '), strong(formatFigure(load, 'ratio')));
    if (load !== undefined) figures.push(dim(` ${gauge(load, GAUGE)}`));
    figures.push(plain('  round trip p95 '), strong(formatDuration(rttP95)));
  }
  const alerts = alertSpans(status);
  const service: Span[] = [
    plain('service '),
    store === undefined
      ? dim('–')
      : store.available
        ? plain(`${store.kind} ${store.durability}`)
        : bad(`${store.kind} AWAY ${store.detail}`),
    ...(store?.commitP99 === undefined ? [] : [plain(`  commits p99 ${formatDuration(store.commitP99)}`)]),
    plain(`  ${replicas.length} ${replicas.length === 1 ? 'replica' : 'replicas'}`),
    ...busiest(status),
    plain('  alerts '),
    ...(alerts.length === 0 ? [good('none')] : alerts),
  ];
  const [reason] = status.reasons;
  const more = status.reasons.length > 1 ? dim(` and ${status.reasons.length - 1} more`) : plain('');
  return [agents, figures, service, ...(reason === undefined ? [] : [[warn(reason), more]])];
}

function busiest({ replicas }: NonNullable<TopModel['status']>): Span[] {
  const slowest = replicas.reduce((most, { eventLoopDelayP99: delay }) => {
    return delay === undefined ? most : Math.max(most, durationMs(delay));
  }, 0);
  const cpu = replicas.reduce((sum, { cpuCores }) => sum + cpuCores, 0);
  return [plain(`, ${cpu.toFixed(2)} cores, loop p99 ${formatMs(slowest)}`)];
}

function tabLine(model: TopModel, look: Look, style: FrameOptions['style']): string {
  const counts = {
    agents: model.agents.size,
    alerts: model.alerts.size,
    events: model.events.length,
    service: model.status?.replicas.length ?? 0,
  };
  const tabs = VIEWS.flatMap((view, at): Span[] => {
    const text = ` ${at + 1} ${view} (${counts[view]}) `;
    return [
      { text: view === look.view ? `▐${text}▌` : ` ${text} `, tone: view === look.view ? 'strong' : 'dim' },
    ];
  });
  const order = look.view === 'agents' ? `by ${look.sort}${look.reversed ? ', reversed' : ''}` : '';
  const filter = look.typing ? `/${look.filter}█` : look.filter === '' ? '' : `/${look.filter}`;
  return renderLine([...tabs, dim(`  ${order}  `), warn(filter)], style);
}

function footLine(look: Look, shown: { from: number; to: number; of: number }): Line {
  const where = shown.of === 0 ? '' : `${shown.from}–${shown.to} of ${shown.of}   `;
  const paused = look.paused ? [warn('PAUSED   ')] : [];
  return [
    ...paused,
    dim(`${where}q quit  tab view  s sort  r reverse  / filter  ↑↓ scroll  p pause  ? help`),
  ];
}

const HELP = [
  '',
  '  tab, shift-tab, 1 to 4   agents, alerts, events, replicas and services',
  '  s, S                     sort agents by the next, the one before: health, load, latency, deliveries, tasks, name',
  '  r                        the other way round',
  '  /                        only what holds a text; Enter keeps it, Esc takes it away',
  '  ↑ ↓ j k  PgUp PgDn  g G  scroll; to the first, to the last',
  '  p, space                 hold the picture; news are kept and shown when it goes on',
  '  Ctrl-L                   draw everything anew',
  '  q, Ctrl-C                quit',
  '',
  '  Any key closes this.',
];
