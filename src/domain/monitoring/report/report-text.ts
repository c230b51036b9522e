import { Agent_LivenessSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type {
  Incident,
  Report,
  ReportFigure,
  ReportResource,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';

/** What the text says that the report's fields do not. */
export interface TextNotes {
  /** Whether history could be read. */
  historyRead: boolean;
  /** Why moves were not looked for; empty: they were. */
  planFault: string;
  /** Whether older events were left out. */
  truncated: boolean;
  /** The window is over: what is of now is said to be so. */
  isPast: boolean;
}

const PAST_NOTE =
  'Agents, what is reserved and used, open tasks, "now" and what would help are as of now, not of the window.';

/** A report as Markdown. */
export function reportText(report: Report, notes: TextNotes): string {
  const { namespace, startTime, endTime, figures, resources, proposals, incidents, incidentCount } = report;
  const lines = [
    `# Report of namespace ${plain(namespace)}`,
    '',
    `${timeOf(startTime)} to ${timeOf(endTime)}. ${summaryOf(report)}.`,
    ...(notes.historyRead ? [] : ['', 'History could not be read: figures are those of now.']),
    ...(notes.isPast ? ['', PAST_NOTE] : []),
    ...section('Figures', [
      ...table(['figure', 'now', 'average', 'lowest', 'highest', 'p95'], figures.map(figureCells)),
    ]),
    ...section(
      'Resources',
      table(['resource', 'capacity', 'reserved', 'used', 'average', 'highest'], resources.map(resourceCells)),
    ),
    ...section(
      'Tasks',
      listOf(Object.entries(report.tasks).map(([state, count]) => `${plain(state)}: ${count}`)),
    ),
    ...section('What would help', [
      ...listOf(proposals.map(plain)),
      ...(notes.planFault === '' ? [] : ['', `Moves were not looked for: ${plain(notes.planFault)}.`]),
    ]),
    ...section(
      incidentCount > incidents.length ? `Incidents (${incidents.length} of ${incidentCount})` : 'Incidents',
      [
        ...listOf(incidents.map(incidentLine)),
        ...(notes.truncated ? ['', 'There were too many events to look at all of them.'] : []),
      ],
    ),
  ];
  return `${lines.join('\n')}\n`;
}

/** The report in a sentence, without its end. */
export function summaryOf({ agents, figures, incidentCount, proposals }: Report): string {
  const all = agents.reduce((sum, { count }) => sum + count, 0);
  const attached = agents
    .filter(({ liveness }) => ATTACHED.has(Agent_LivenessSchema.value[liveness]?.localName ?? ''))
    .reduce((sum, { count }) => sum + count, 0);
  const load = figures.find(({ name }) => name === 'system_load')?.avg;
  const parts = [
    `${attached} of ${all} agents attached`,
    ...(load === undefined ? [] : [`load ${load.toFixed(2)} on average`]),
    incidentCount === 0
      ? 'no incidents'
      : `${incidentCount} ${incidentCount === 1 ? 'incident' : 'incidents'}`,
    ...(proposals.length === 0
      ? []
      : [`${proposals.length} ${proposals.length === 1 ? 'proposal' : 'proposals'}`]),
  ];
  return parts.join(', ');
}

const ATTACHED: ReadonlySet<string> = new Set(['CONNECTED', 'SUSPECT']);

function section(title: string, body: readonly string[]): string[] {
  return ['', `## ${title}`, '', ...(body.length === 0 ? ['None.'] : body)];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [];
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)];
}

const listOf = (items: readonly string[]): string[] => items.map((item) => `- ${item}`);

function figureCells({ name, unit, now, avg, min, max, p95 }: ReportFigure): string[] {
  const shown = (value: number | undefined): string => {
    if (value === undefined) return '–';
    return unit === 'ms' ? `${value.toFixed(value < 10 ? 1 : 0)} ms` : value.toFixed(2);
  };
  return [plain(name), ...[now, avg, min, max, p95].map(shown)];
}

function resourceCells(resource: ReportResource): string[] {
  const share = (value: number | undefined): string =>
    value === undefined ? '–' : `${Math.round(value * 100)} %`;
  return [
    plain(resource.resource),
    String(resource.capacity),
    String(resource.reserved),
    resource.used === undefined ? '–' : String(resource.used),
    share(resource.usageAvg),
    share(resource.usageMax),
  ];
}

function incidentLine({ startTime, endTime, type, summary }: Incident): string {
  const until = endTime === undefined ? '' : ` to ${timeOf(endTime)}`;
  return `${timeOf(startTime)}${until}: ${plain(summary)} (${plain(type)})`;
}

const timeOf = (time: Report['startTime']): string =>
  time === undefined
    ? '?'
    : `${new Date(msFromTimestamp(time)).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

const MAX_CHARACTERS = 500;

/** Names and messages may come from agents: on one line, bounded, and without meaning to Markdown or HTML. */
export function plain(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ');
  const cut = line.length > MAX_CHARACTERS ? `${line.slice(0, MAX_CHARACTERS).toWellFormed()}…` : line;
  return cut.replace(/[\\`*[\]<>|~#]|!(?=\[)|(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, '\\$&');
}
