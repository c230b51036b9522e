import type { BlockSpec, CheckedBlock, FieldSpec } from './spec.ts';
import {
  eventTypeFault,
  headerNameFault,
  headerValueFault,
  httpUrlFault,
  nameFault,
  namespaceFault,
} from './texts.ts';

const HOUR_MS = 3_600_000;

const fields: readonly FieldSpec[] = [
  {
    ...{ name: 'name', to: 'name', kind: 'text', required: true, max: 64, check: nameFault },
    doc: 'Unique; rules name it.',
  },
  {
    ...{ name: 'kind', to: 'kind', kind: 'choice', required: true },
    choices: ['webhook', 'alertmanager', 'command', 'log'],
    doc: 'How it is sent.',
  },
  {
    ...{ name: 'url', to: 'url', kind: 'text', check: httpUrlFault, secret: 'path', words: 'URL' },
    doc: 'webhook: where each is POSTed. alertmanager: its base URL. A password, the path and parameters are never shown.',
  },
  {
    ...{ name: 'secret', to: 'secret', kind: 'text', min: 8, max: 1_024, secret: 'all' },
    doc: 'webhook: key of the signature (HMAC-SHA256).',
  },
  {
    ...{ name: 'secret_file', to: 'secretFile', kind: 'text', words: 'file' },
    doc: 'webhook: the key is in this file, which is read again when it changes.',
  },
  {
    ...{ name: 'headers', to: 'headers', kind: 'map', max: 16, secret: 'all' },
    ...{ checkName: headerNameFault, check: headerValueFault },
    words: 'names with a text each',
    doc: 'webhook, alertmanager: further headers. Their values are never shown.',
  },
  {
    ...{ name: 'command', to: 'command', kind: 'texts', min: 1, max: 32, words: 'list of texts' },
    doc: 'command: the program and its arguments, without a shell; the alert is JSON on its standard input.',
  },
  {
    ...{ name: 'timeout', to: 'timeoutMs', kind: 'duration', default: 5_000, min: 100, max: 60_000 },
    doc: 'How long a try may take.',
  },
  {
    ...{ name: 'retry_min', to: 'retryMinMs', kind: 'duration', default: 1_000, min: 100, max: HOUR_MS },
    doc: 'The pause after the first failed try; then it doubles.',
  },
  {
    ...{ name: 'retry_max', to: 'retryMaxMs', kind: 'duration', default: 60_000, min: 100, max: HOUR_MS },
    doc: 'The longest pause.',
  },
  {
    ...{ name: 'alerts', to: 'alerts', kind: 'flag', default: true },
    doc: 'Whether alerts are sent there.',
  },
  {
    ...{ name: 'min_severity', to: 'minSeverity', kind: 'choice', default: 'info' },
    choices: ['info', 'warning', 'critical'],
    doc: 'Alerts that are less severe are not sent.',
  },
  {
    ...{ name: 'events', to: 'events', kind: 'texts', default: [], max: 32, check: eventTypeFault },
    words: 'list of types',
    doc: 'webhook, log: types of [events](events.md) that are sent too, each as a CloudEvent: `agent.*`.',
  },
  {
    ...{ name: 'namespaces', to: 'namespaces', kind: 'texts', default: [], max: 64, check: namespaceFault },
    words: 'list of namespaces',
    doc: 'Only what is of these; default: of all.',
  },
];

export const SINK_BLOCKS: BlockSpec = {
  noun: 'sink',
  max: 64,
  fields,
  check: checkSink,
  intro: 'Where alerts and events are sent; see [integrations](integrations.md).',
};

/** Fields that only some kinds have. */
const KINDS_OF: Readonly<Record<string, readonly string[]>> = {
  url: ['webhook', 'alertmanager'],
  secret: ['webhook'],
  secret_file: ['webhook'],
  headers: ['webhook', 'alertmanager'],
  command: ['command'],
};

function checkSink(block: CheckedBlock): void {
  const { values } = block;
  const { kind, retryMinMs, retryMaxMs, alerts, events } = values;
  if (typeof retryMinMs === 'number' && typeof retryMaxMs === 'number' && retryMinMs > retryMaxMs) {
    block.fault(
      block.has('retry_max') ? 'retry_max' : 'retry_min',
      'retry_max must not be shorter than retry_min',
    );
  }
  if (block.has('secret') && block.has('secret_file')) {
    block.fault('secret_file', 'cannot stand beside secret: it is one of both');
  }
  if (alerts === false && Array.isArray(events) && events.length === 0 && !block.wrong('events')) {
    block.fault('alerts', 'is false and no events are named: nothing would be sent');
  }
  if (typeof kind !== 'string') return;
  for (const [name, kinds] of Object.entries(KINDS_OF)) {
    if (block.has(name) && !kinds.includes(kind)) {
      block.fault(name, `belongs to ${kinds.join(' and ')}, not to ${kind}`);
    }
  }
  if (!block.has('url') && KINDS_OF.url?.includes(kind)) block.fault('url', `is missing: a ${kind} has one`);
  if (!block.has('command') && kind === 'command') block.fault('command', 'is missing');
  if (block.has('events') && kind !== 'webhook' && kind !== 'log') {
    block.fault('events', `belongs to webhook and log, not to ${kind}`);
  }
}
