import { shown } from '../errors.ts';
import { BUILTIN_RULE_NAMES, type BuiltinRuleName, METRIC_NAMES, type ScopeName } from '../metric-names.ts';
import type { BlockSpec, CheckedBlock, FieldSpec } from './spec.ts';
import {
  alertLabelFault,
  eventTypeFault,
  labelSelectorFault,
  metricFault,
  nameFault,
  namespaceFault,
  pageUrlFault,
} from './texts.ts';

const MONTH_MS = 30 * 86_400_000;

const number = (name: string, doc: string): FieldSpec => ({
  ...{ name, to: name, kind: 'number', min: -1e15, max: 1e15, words: 'number', doc },
});
const time = (name: string, to: string, min: number, doc: string): FieldSpec => ({
  ...{ name, to, kind: 'duration', min, max: MONTH_MS, doc },
});

const fields: readonly FieldSpec[] = [
  {
    ...{ name: 'name', to: 'name', kind: 'text', required: true, max: 64, check: nameFault },
    doc: 'Unique. That of a built-in rule changes that rule: fields that are not there stay as they are.',
  },
  {
    ...{ name: 'metric', to: 'metric', kind: 'text', max: 64, check: metricFault, words: 'a metric' },
    doc: 'What is compared, see [metrics](metrics.md). A rule has a metric or `events`.',
  },
  {
    ...{ name: 'scope', to: 'scope', kind: 'choice' },
    choices: ['fleet', 'zone', 'agent', 'replica', 'service'],
    doc: 'Of what; one alert for each. Default: `fleet`, or the only one that the metric has.',
  },
  {
    ...{ name: 'resource', to: 'resource', kind: 'text', max: 64 },
    doc: 'Of which resource, where the metric is of resources; default: each.',
  },
  {
    ...{ name: 'selector', to: 'selector', kind: 'text', max: 1_024, check: labelSelectorFault },
    words: 'selector',
    doc: 'Only agents with these labels; for zones, replicas and services `name in (…)`. Default: all.',
  },
  number('above', 'Fires above this. A rule of a metric has `above` or `below`.'),
  number('below', 'Fires below this.'),
  number(
    'clear',
    'Must be crossed back before the alert is over; default: 5 % of the threshold on the good side.',
  ),
  time('for', 'forMs', 0, 'How long the condition must hold; default 0.'),
  time('clear_for', 'clearForMs', 0, 'How long it must not hold before the alert is over; default 0.'),
  {
    ...{ name: 'no_data', to: 'noData', kind: 'choice', choices: ['keep', 'fire'] },
    doc: 'When nothing is measured: an alert stays as it is (default), or fires after `for`.',
  },
  {
    ...{ name: 'events', to: 'events', kind: 'texts', min: 1, max: 32, check: eventTypeFault },
    words: 'list of types',
    doc: 'Types of [events](events.md) that fire it: `agent.lost`, or a prefix such as `agent.*`.',
  },
  {
    ...{ name: 'clear_events', to: 'clearEvents', kind: 'texts', min: 1, max: 32, check: eventTypeFault },
    words: 'list of types',
    doc: 'Types of events about the same subject that end it.',
  },
  time('expire_after', 'expireAfterMs', 1_000, 'It ends so long after its last event.'),
  {
    ...{ name: 'event_count', to: 'eventCount', kind: 'integer', min: 1, max: 10_000 },
    doc: 'So many events within `event_window` fire it; default 1.',
  },
  time('event_window', 'eventWindowMs', 1_000, 'The window; goes with `event_count`.'),
  {
    ...{ name: 'severity', to: 'severity', kind: 'choice', choices: ['info', 'warning', 'critical'] },
    doc: 'How bad; default `warning`.',
  },
  {
    ...{ name: 'labels', to: 'labels', kind: 'map', max: 16, checkName: alertLabelFault },
    words: 'names with a text each',
    doc: 'Put on its alerts.',
  },
  {
    ...{ name: 'description', to: 'description', kind: 'prose', max: 2_000 },
    doc: 'What to do, for people.',
  },
  {
    ...{ name: 'runbook_url', to: 'runbookUrl', kind: 'text', check: pageUrlFault, words: 'URL' },
    doc: 'A page that tells more.',
  },
  {
    ...{ name: 'sinks', to: 'sinks', kind: 'texts', min: 1, max: 64, check: nameFault },
    words: 'list of sinks',
    doc: 'Sent to these only; default: to all.',
  },
  {
    ...{ name: 'namespaces', to: 'namespaces', kind: 'texts', min: 1, max: 64, check: namespaceFault },
    words: 'list of namespaces',
    doc: 'Holds in these only; default: in all.',
  },
  { ...{ name: 'disabled', to: 'disabled', kind: 'flag' }, doc: 'Switched off.' },
];

export const RULE_BLOCKS: BlockSpec = {
  noun: 'rule',
  max: 256,
  fields,
  check: checkRule,
  intro: 'By the side of the built-in rules; see [alerts](alerts.md).',
};

const OF_METRICS = [
  ...['metric', 'scope', 'resource', 'selector', 'above', 'below', 'clear', 'for', 'clear_for', 'no_data'],
];
const OF_EVENTS = ['events', 'clear_events', 'expire_after', 'event_count', 'event_window'];
const ALIEN = {
  metric: [OF_EVENTS, 'belongs to rules of events'],
  events: [OF_METRICS, 'belongs to rules of a metric'],
  own: [[...OF_METRICS, ...OF_EVENTS], 'cannot be changed: this built-in rule sees by itself when it fires'],
} as const;

function checkRule(block: CheckedBlock): void {
  const { values } = block;
  const builtin = block.wrong('name')
    ? undefined
    : BUILTIN_RULE_NAMES.find(({ name }) => name === values.name);
  const kind = builtin?.kind ?? kindOf(block);
  if (kind === undefined) return;
  const [alien, why] = ALIEN[kind];
  for (const name of alien) if (block.has(name)) block.fault(name, why);
  if (kind === 'metric') checkMetric(block, builtin);
  else if (kind === 'events') checkEvents(block, builtin !== undefined);
}

/** What a rule looks at; undefined: that is not clear, and was noted. */
function kindOf(block: CheckedBlock): 'metric' | 'events' | undefined {
  const [metric, events] = [block.has('metric'), block.has('events')];
  if (metric && events) {
    return void block.fault('events', 'cannot stand beside a metric: a rule has one of both');
  }
  if (metric || events) return metric ? 'metric' : 'events';
  // A name that is wrong may have been meant for a built-in rule.
  if (!block.wrong('name')) block.fault('metric', 'is missing: a rule has a metric or events');
  return undefined;
}

function checkMetric(block: CheckedBlock, builtin: BuiltinRuleName | undefined): void {
  const { values } = block;
  const above = block.has('above');
  const below = block.has('below');
  if (above && below) block.fault('below', 'cannot stand beside above: a rule has one of both');
  else if (!above && !below && builtin === undefined)
    block.fault('above', 'is missing: a rule of a metric has above or below');
  const side = below || (!above && builtin?.below === true) ? 'below' : 'above';
  const [threshold, clear] = [values[side], values.clear];
  if (!(above && below) && typeof threshold === 'number' && typeof clear === 'number') {
    const good = side === 'above' ? clear <= threshold : clear >= threshold;
    if (!good) {
      block.fault('clear', `is on the wrong side: it must not be ${side} the threshold ${threshold}`);
    }
  }
  if (block.wrong('metric')) return;
  const metric = METRIC_NAMES.find(({ name }) => name === (values.metric ?? builtin?.metric));
  if (metric === undefined || block.wrong('scope')) return;
  // What is not said of a built-in rule stays as it is there.
  if (builtin === undefined && !block.has('scope')) block.set('scope', defaultScope(metric.scopes));
  const scope = values.scope as ScopeName | undefined;
  if (scope !== undefined && !metric.scopes.includes(scope)) {
    block.fault('scope', `must be ${metric.scopes.join(', ')} for the metric ${metric.name}, not ${scope}`);
    return;
  }
  if (block.has('resource') && !metric.perResource) {
    block.fault('resource', `cannot be: the metric ${metric.name} is of no resource`);
  }
  if (typeof values.selector === 'string') {
    checkSelector(block, scope ?? defaultScope(metric.scopes), values.selector);
  }
}

/** Where a rule does not say. */
const defaultScope = (scopes: readonly ScopeName[]): ScopeName =>
  scopes.includes('fleet') ? 'fleet' : (scopes[0] ?? 'fleet');

function checkSelector(block: CheckedBlock, scope: ScopeName, selector: string): void {
  if (scope === 'agent') return;
  if (scope === 'fleet') {
    block.fault('selector', 'cannot be: there is one fleet; with the scope agent or zone there is a choice');
    return;
  }
  const keys = selector.split(/,(?![^()]*\))/).map((part) => /^[\s!]*([^\s=!]+)/.exec(part)?.[1] ?? '');
  const wrong = keys.find((key) => key !== 'name' && key !== scope);
  if (wrong !== undefined) {
    block.fault('selector', `can only choose by name here ("name=…"), not by ${shown(wrong)}`);
  }
}

function checkEvents(block: CheckedBlock, builtin: boolean): void {
  const { values } = block;
  if (!builtin && !block.has('clear_events') && !block.has('expire_after')) {
    block.fault('events', 'needs clear_events or expire_after beside it, or its alerts would never end');
  }
  const count = typeof values.eventCount === 'number' ? values.eventCount : 1;
  if (!builtin && count > 1 && !block.has('event_window')) {
    block.fault('event_count', 'needs event_window beside it');
  }
  if (!builtin && block.has('event_window') && !block.has('event_count')) {
    block.fault('event_window', 'needs event_count beside it');
  }
}
