import { RULE_BLOCKS } from './blocks/rule.ts';
import { SERVICE_BLOCKS } from './blocks/service.ts';
import { SINK_BLOCKS } from './blocks/sink.ts';
import type { KeySpec } from './key.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

function time(path: string, value: string, range: [number, number], doc: string): KeySpec {
  return { path, kind: 'duration', default: value, min: range[0], max: range[1], doc };
}

/** Keys of history, alerts and reports, in the order of the reference. */
export const MONITORING_KEYS: readonly KeySpec[] = [
  time(
    'history.sample_interval',
    '10s',
    [SECOND, 5 * MINUTE],
    'Agents are measured for the history this often.',
  ),
  time(
    'history.raw',
    '6h',
    [10 * MINUTE, 7 * DAY],
    'How long single samples of fleet, zones, replicas and services are kept.',
  ),
  time('history.minutes', '14d', [HOUR, 400 * DAY], 'How long their minutes are.'),
  time('history.hours', '400d', [DAY, 3_650 * DAY], 'How long their hours are.'),
  {
    ...time(
      'history.agents',
      '7d',
      [HOUR, 400 * DAY],
      'How long the minutes of each agent are; 0: none are kept.',
    ),
    zero: true,
  },
  {
    ...{ path: 'alerts.rules', kind: 'blocks', default: [], blocks: RULE_BLOCKS },
    doc: 'Rules by the side of the built-in ones: [fields](#alertsrules).',
  },
  {
    ...{ path: 'alerts.sinks', kind: 'blocks', default: [], blocks: SINK_BLOCKS },
    doc: 'Where alerts and events are sent: [fields](#alertssinks). None: alerts go to the log.',
  },
  time('alerts.retention', '7d', [MINUTE, 400 * DAY], 'How long alerts are kept that are over.'),
  time('alerts.resend', '1m', [SECOND, HOUR], 'Alertmanager hears again this often of what still fires.'),
  {
    ...{ path: 'services', kind: 'blocks', default: [], blocks: SERVICE_BLOCKS },
    doc: 'Things that are no agents and are watched over: [fields](#services).',
  },
  {
    path: 'report.at',
    kind: 'text',
    default: '06:00',
    min: 0,
    max: 5,
    doc: 'When the report of the day before is made, `HH:MM` in UTC; empty: never.',
  },
];
