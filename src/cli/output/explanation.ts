import { Agent_LivenessSchema, type Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { ExplainAgentResponse } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { livenessSpan, phaseSpan, shareTone } from './agent-cells.ts';
import { type DetailOptions, indent, narrower, readingTitle } from './agent-detail.ts';
import { answeredAtMs, freshnessOf } from './freshness.ts';
import { enumName } from './names.ts';
import { orderSections } from './order-detail.ts';
import { policyWords } from './policy.ts';
import { exitLines, processWords } from './process.ts';
import { gauge } from './sparkline.ts';
import { renderFields, renderTable } from './table.ts';
import { dim, good, plain, renderLine, type Style, strong, warn } from './text.ts';
import { formatAgo, formatDuration } from './time.ts';
import { samplesLine, verdictLines } from './verdict.ts';

/** Why an agent is as it is, for people. */
export function renderExplanation(
  response: ExplainAgentResponse,
  { staleMs, style, ownMs }: DetailOptions,
): string[] {
  const { agent, summary, signals, deadlines, verdicts, sampleMs } = response;
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
  section(
    'What is done about it',
    response.actions.map((action) => renderLine([plain(action)], inner)),
  );
  for (const [title, fields] of orderSections(agent, nowMs)) section(title, renderFields(fields, inner));
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
  section(mailboxTitle(response), mailboxTable(response, inner));
  const process = agent.observation?.report?.process;
  const words = process === undefined ? [] : processWords(process);
  // A reading that is not current is told as one of the past, and looks like it.
  const past = () => [dim('when it was last heard, it '), ...words.map(({ text }) => dim(text))];
  const lives = words.length === 0 ? [] : [current ? [plain('it '), ...words] : past()];
  section(
    'Process, its last ends first',
    [...lives, ...exitLines(response.exits, nowMs)].map((line) => renderLine(line, inner)),
  );
  section(
    'Failures that count, newest first',
    renderFields(
      response.failures.map(({ kind, time }) => [formatAgo(time, nowMs), [plain(kind)]]),
      inner,
    ),
  );
  if (response.failurePolicy !== undefined) {
    const policy = policyWords(response.failurePolicy);
    section(
      'If it fails',
      renderFields(
        policy.map(([name, words]) => [name, [plain(words)]]),
        inner,
      ),
    );
  }
  return lines;
}

function mailboxTitle({ mailbox, mailboxSize }: ExplainAgentResponse): string {
  const more = mailboxSize > mailbox.length ? `, the first ${mailbox.length} of ${mailboxSize}` : '';
  return `Mailbox, oldest first${more}`;
}

function mailboxTable({ mailbox }: ExplainAgentResponse, style: Style): string[] {
  if (mailbox.length === 0) return [];
  return renderTable(
    [
      { title: 'DELIVERY', shrinkTo: 8, dropOrder: 1 },
      { title: 'ITEM', shrinkTo: 12 },
      { title: 'IS' },
      { title: 'TRIES', align: 'right' },
      { title: 'AGE', align: 'right' },
      { title: 'LEFT', align: 'right' },
      { title: 'WAITS FOR', shrinkTo: 16 },
    ],
    mailbox.map(({ work, item, accepted, tries, age, timeLeft, waitsFor }) => [
      plain(work?.deliveryId ?? '?'),
      plain(item),
      accepted ? good('accepted') : tries > 0 ? warn('handed out') : dim('waiting'),
      plain(String(tries)),
      plain(formatDuration(age)),
      plain(formatDuration(timeLeft)),
      plain(waitsFor),
    ]),
    style,
  );
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
