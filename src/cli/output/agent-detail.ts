import {
  type Agent,
  type Observation,
  Relationship_TypeSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { ageSpan, livenessSpan, pairs, phaseSpan, shareTone } from './agent-cells.ts';
import { answeredAtMs, type Freshness, freshnessOf } from './freshness.ts';
import { enumName } from './names.ts';
import { orderSections } from './order-detail.ts';
import { policyWords } from './policy.ts';
import { exitWords, processWords } from './process.ts';
import { gauge } from './sparkline.ts';
import { renderFields } from './table.ts';
import { bad, dim, type Line, plain, renderLine, type Style, strong, warn } from './text.ts';
import { durationMs, formatAgo, formatDuration, formatMs, formatTime } from './time.ts';
import { verdictLines } from './verdict.ts';

type Field = readonly [string, Line];

export interface DetailOptions {
  staleMs: number;
  style: Style;
  /** The reader's clock, where the agent's reading does not tell the server's. */
  ownMs: number;
}

/** All that is known of an agent: what it declared, what was judged, what was measured and how old that is. */
export function renderAgent(agent: Agent, { staleMs, style, ownMs }: DetailOptions): string[] {
  const freshness = freshnessOf(agent, staleMs);
  const nowMs = answeredAtMs(agent, ownMs);
  const head: Field[] = [
    ['id', [strong(agent.id)]],
    ['namespace', [plain(agent.namespace)]],
    ['phase', [phaseSpan(agent.phase)]],
    ['liveness', [livenessSpan(agent.liveness, freshness)]],
    ...specFields(agent),
    ['registered', [plain(`${formatTime(agent.createTime)} (${formatAgo(agent.createTime, nowMs)})`)]],
    ['changed', [plain(`${formatTime(agent.updateTime)}, revision ${agent.revision}`)]],
    ['uid', [dim(agent.uid)]],
  ];
  const lines = renderFields(head, style);
  const section = (title: string, fields: readonly Field[]) => {
    lines.push('', renderLine([strong(title)], style), ...indent(renderFields(fields, narrower(style))));
  };
  for (const [title, fields] of orderSections(agent, nowMs)) section(title, fields);
  if (agent.verdict !== undefined) section('Verdict', verdictLines(agent.verdict, nowMs));
  lines.push('', renderLine([strong('Reading '), ...readingTitle(freshness)], style));
  if (agent.observation !== undefined) {
    lines.push(
      ...indent(renderFields(observationFields(agent.observation, freshness, nowMs), narrower(style))),
    );
  }
  return lines;
}

/** How much the reading below is worth. */
export function readingTitle(freshness: Freshness): Line {
  switch (freshness.kind) {
    case 'none':
      return [dim('none: no session was ever measured')];
    case 'current':
      return [plain('is '), ageSpan(freshness), plain(' old')];
    case 'stale':
      return [
        warn('is stale: nobody measured for '),
        warn(freshness.ageMs === undefined ? 'unknown time' : formatMs(freshness.ageMs)),
      ];
    case 'past':
      return [
        bad('of the past: '),
        plain(
          freshness.ageMs === undefined ? 'the last one' : `the last one, ${formatMs(freshness.ageMs)} ago`,
        ),
        plain('; there is no session now'),
      ];
  }
}

function specFields({ spec }: Agent): Field[] {
  if (spec === undefined) return [];
  const fields: [string, string][] = [
    ['name', spec.displayName],
    ['kind', spec.kind],
    ['version', spec.version],
    [
      'capabilities',
      spec.capabilities.map(({ name, version }) => (version === '' ? name : `${name}@${version}`)).join(', '),
    ],
    ['labels', pairs(spec.labels)],
    ['annotations', pairs(spec.annotations)],
    [
      'relationships',
      spec.relationships
        .map(({ type, agentId }) => `${enumName(Relationship_TypeSchema, type).toLowerCase()} ${agentId}`)
        .join(', '),
    ],
    ['capacity', pairs(spec.capacity)],
    [
      'activities',
      spec.activities
        .map(({ name, progressBudget }) =>
          progressBudget === undefined ? name : `${name} (moves within ${formatDuration(progressBudget)})`,
        )
        .join(', '),
    ],
    [
      'forgotten',
      spec.forgetAfter === undefined ? '' : `${formatDuration(spec.forgetAfter)} after it is gone`,
    ],
  ];
  if (spec.failurePolicy !== undefined) {
    fields.push(...policyWords(spec.failurePolicy));
  }
  return fields.filter(([, value]) => value !== '').map(([name, value]) => [name, [plain(value)]]);
}

/** A reading that is not current is shown dim as a whole: none of it looks like good news. */
function observationFields(observation: Observation, freshness: Freshness, nowMs: number): Field[] {
  const { health, roundTrip: trip, report, clockOffset } = observation;
  const fields: Field[] = [];
  const add = (name: string, ...line: Line) => fields.push([name, line]);
  if (health !== undefined) {
    add('health', {
      text: `${health.score.toFixed(2)} ${gauge(health.score, 10)}`,
      tone: shareTone(health.score),
    });
    add(
      '',
      dim(
        `connected ${health.connected.toFixed(2)} · responsive ${health.responsive.toFixed(2)} · ` +
          `progressing ${health.progressing.toFixed(2)} · headroom ${health.headroom.toFixed(2)}`,
      ),
    );
    for (const reason of health.reasons) add('', plain(reason));
  }
  if (trip !== undefined) {
    add(
      'round trip',
      plain(
        `last ${formatDuration(trip.last)}, smoothed ${formatDuration(trip.smoothed)} ±${formatDuration(trip.variation)}, ` +
          `p50 ${formatDuration(trip.p50)}, p95 ${formatDuration(trip.p95)}, p99 ${formatDuration(trip.p99)} of ${trip.samples}`,
      ),
    );
  }
  if (clockOffset !== undefined) {
    const offsetMs = durationMs(clockOffset);
    add(
      'clock',
      plain(
        offsetMs === 0 ? 'exact' : `${formatMs(Math.abs(offsetMs))} ${offsetMs < 0 ? 'behind' : 'ahead'}`,
      ),
    );
  }
  if (report !== undefined) {
    const load = report.load === undefined ? '' : `load ${report.load.toFixed(2)}`;
    const activity = report.activity === '' ? '' : `busy with ${report.activity}`;
    add(
      'report',
      plain([activity, load].filter(Boolean).join(', ') || 'says nothing'),
      dim(` ${formatAgo(observation.reportTime, nowMs)}`),
    );
    if (report.process !== undefined) {
      add('process', ...processWords(report.process));
      const last = report.process.exits.at(-1);
      if (last !== undefined) add('', plain('ended last with '), ...exitWords(last));
    }
    if (Object.keys(report.usage).length > 0) add('usage', plain(pairs(report.usage)));
    for (const { work, name, done, total } of report.progress) {
      add(
        'progress',
        plain(`${name || work?.deliveryId || '?'}: ${done}${total === undefined ? '' : ` of ${total}`}`),
      );
    }
  }
  add(
    'heartbeats',
    plain(
      `${observation.heartbeats}, ${observation.missed} probes never answered, suspicion ${observation.phi.toFixed(1)}`,
    ),
  );
  add(
    'session',
    plain(
      `epoch ${observation.sessionEpoch}, opened ${formatAgo(observation.attachTime, nowMs)}, from ${observation.peer || '?'}`,
    ),
  );
  add('observer', plain(`${observation.replicaId || '?'} at ${formatTime(observation.observeTime)}`));
  if (observation.instanceId !== '') add('instance', plain(observation.instanceId));
  if (observation.client !== '') add('client', plain(observation.client));
  if (freshness.kind === 'current') return fields;
  return fields.map(([name, line]) => [name, line.map(({ text }) => dim(text))]);
}

/** Lines two columns to the right; render them with `narrower`. */
export function indent(lines: readonly string[]): string[] {
  return lines.map((line) => (line === '' ? '' : `  ${line}`));
}

export function narrower(style: Style): Style {
  return style.columns === undefined ? style : { ...style, columns: Math.max(1, style.columns - 2) };
}
