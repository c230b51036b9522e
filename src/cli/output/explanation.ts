import { Agent_LivenessSchema, type Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { ExplainAgentResponse } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { livenessSpan, phaseSpan, shareTone } from './agent-cells.ts';
import { type DetailOptions, indent, narrower, readingTitle } from './agent-detail.ts';
import { answeredAtMs, freshnessOf } from './freshness.ts';
import { enumName } from './names.ts';
import { gauge } from './sparkline.ts';
import { renderFields, renderTable } from './table.ts';
import { dim, plain, renderLine, type Style, strong } from './text.ts';
import { formatAgo, formatDuration } from './time.ts';
import { samplesLine, verdictLines } from './verdict.ts';

/** Why an agent is as it is, for people. */
export function renderExplanation(
  { agent, summary, signals, deadlines, verdicts, sampleMs }: ExplainAgentResponse,
  { staleMs, style, ownMs }: DetailOptions,
): string[] {
  if (agent === undefined) return [renderLine([plain(summary)], style)];
  const freshness = freshnessOf(agent, staleMs);
  const nowMs = answeredAtMs(agent, ownMs);
  const inner = narrower(style);
  const lines = [
    renderLine(
      [
        strong(agent.id),
        plain(' is '),
        livenessSpan(agent.liveness, freshness),
        plain(', '),
        phaseSpan(agent.phase),
      ],
      style,
    ),
    renderLine([plain(summary)], style),
    renderLine([dim('reading '), ...readingTitle(freshness)], style),
  ];
  const section = (title: string, body: readonly string[]) => {
    if (body.length > 0) lines.push('', renderLine([strong(title)], style), ...indent(body));
  };
  const current = freshness.kind === 'current';
  section(
    'Signals',
    signals.length === 0
      ? []
      : renderTable(
          [
            { title: 'SIGNAL' },
            { title: 'VALUE' },
            { title: 'RENEWED' },
            { title: 'EVIDENCE', shrinkTo: 20 },
          ],
          signals.map((signal) => [
            plain(signal.name),
            {
              text: `${signal.value.toFixed(2)} ${gauge(signal.value, 10)}`,
              tone: current ? shareTone(signal.value) : 'dim',
            },
            plain(formatAgo(signal.time, nowMs)),
            plain(signal.evidence),
          ]),
          inner,
        ),
  );
  section(
    'If nothing is heard',
    renderFields(
      deadlines.map(({ rule, liveness, remaining }) => [
        `in ${formatDuration(remaining)}`,
        [livenessSpan(liveness), dim(` by rule ${rule}`)],
      ]),
      inner,
    ),
  );
  if (agent.verdict !== undefined) {
    const name = enumName(Agent_LivenessSchema, agent.liveness);
    section(`Verdict: why ${name}`, renderFields(verdictLines(agent.verdict, nowMs), inner));
  }
  if (sampleMs.length > 0) {
    section('Answer delays, newest last', [renderLine(samplesLine(sampleMs, barsFor(style)), inner)]);
  }
  section('Verdicts, newest first', verdictTable(verdicts, nowMs, inner));
  return lines;
}

/** Bars that leave room for the figures beside them. */
function barsFor({ columns }: Style): number {
  return columns === undefined ? 64 : Math.min(64, Math.max(8, columns - 64));
}

function verdictTable(verdicts: readonly Verdict[], nowMs: number, style: Style): string[] {
  if (verdicts.length === 0) return [];
  return renderTable(
    [
      { title: 'WHEN' },
      { title: 'RULE' },
      { title: 'EPOCH', align: 'right' },
      { title: 'SILENT', align: 'right' },
      { title: 'MISSED', align: 'right' },
      { title: 'PHI', align: 'right' },
      { title: 'OBSERVER DELAY', align: 'right', dropOrder: 2 },
      { title: 'DETAIL', shrinkTo: 20, dropOrder: 1 },
    ],
    verdicts.map((verdict) => [
      plain(formatAgo(verdict.time, nowMs)),
      plain(verdict.rule),
      plain(String(verdict.epoch)),
      plain(formatDuration(verdict.silence)),
      plain(String(verdict.unansweredProbes)),
      plain(verdict.phi.toFixed(1)),
      plain(formatDuration(verdict.observer?.eventLoopDelay)),
      plain(verdict.detail),
    ]),
    style,
  );
}
