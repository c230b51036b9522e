import {
  type Affinity,
  type AgentScore,
  PendingReasonSchema,
  type Placement,
  Placement_StrategySchema,
  type PlacementExplanation,
  type QuotaHit,
  Scope,
} from '../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { byName, formatAmount } from './amounts.ts';
import { enumName } from './names.ts';
import { gauge } from './sparkline.ts';
import { renderTable } from './table.ts';
import { bad, dim, good, type Line, plain, renderLine, type Style, strong, warn } from './text.ts';

/** What was asked for of agents, as fields; what was not said is left out. */
export function placementFields(placement: Placement | undefined): (readonly [string, Line])[] {
  if (placement === undefined) return [];
  const { capabilityVersion, selector, agentIds, notAgentIds, strategy, group, maxPerAgent } = placement;
  const spreads = placement.spreads.map(
    ({ scope, maxSkew, required }) =>
      `over ${scopeWord(scope)}s, by at most ${maxSkew || 1}${required ? '' : ' if possible'}`,
  );
  const fields: [string, string][] = [
    ['version', capabilityVersion],
    ['agents with', selector],
    ['only on', agentIds.join(', ')],
    ['never on', notAgentIds.join(', ')],
    ['strategy', strategy === 0 ? '' : enumName(Placement_StrategySchema, strategy)],
    ['group', group],
    ['at most on one agent', maxPerAgent === 0 ? '' : `${maxPerAgent}`],
    ['near or apart', placement.affinities.map(affinityWords).join('; ')],
    ['spread', spreads.join('; ')],
  ];
  return fields.filter(([, value]) => value !== '').map(([name, value]) => [name, [plain(value)]]);
}

const scopeWord = (scope: Scope): string => (scope === Scope.ZONE ? 'zone' : 'agent');

const affinityWords = ({ group, scope, apart, required, weight }: Affinity): string =>
  `${apart ? 'apart from' : 'near'} ${group} by ${scopeWord(scope)}, ${required ? 'required' : `weight ${weight || 50}`}`;

/** What stands in the way, and where it would go. */
export function renderPlacement(explanation: PlacementExplanation, style: Style): string[] {
  const { placeable, agentId, reason, detail, agents, eligible, fitting, couldEver } = explanation;
  const verdict: Line = placeable
    ? [good('on '), strong(agentId), plain(detail === '' ? '' : `: ${detail}`)]
    : [bad(enumName(PendingReasonSchema, reason)), plain(detail === '' ? '' : `: ${detail}`)];
  const lines = [
    renderLine(verdict, style),
    renderLine(
      [
        dim(
          `${agents} agents, ${eligible} of them could have it if they were empty and there, ${fitting} fit now`,
        ),
      ],
      style,
    ),
  ];
  if (!couldEver) lines.push(renderLine([warn('no agent that is known could ever have it')], style));
  const table = (title: string, body: readonly string[]) => {
    if (body.length > 0) lines.push(renderLine([dim(title)], style), ...body);
  };
  table('excluded', excludedTable(explanation, style));
  table('exhausted', exhaustedTable(explanation, style));
  table(
    'quotas',
    explanation.quotas.map((hit) => renderLine(quotaLine(hit), style)),
  );
  table('scores, best first', scoreTable(explanation.scores, style));
  return lines;
}

function excludedTable({ excluded }: PlacementExplanation, style: Style): string[] {
  if (excluded.length === 0) return [];
  return renderTable(
    [
      { title: 'AGENTS', align: 'right' },
      { title: 'BY' },
      { title: 'BECAUSE', shrinkTo: 16 },
      { title: 'SOME OF THEM', shrinkTo: 12, dropOrder: 1 },
    ],
    excluded.map(({ constraint, detail, agents, examples }) => [
      plain(`${agents}`),
      strong(constraint),
      plain(detail),
      dim(examples.join(', ')),
    ]),
    style,
  );
}

function exhaustedTable({ exhausted }: PlacementExplanation, style: Style): string[] {
  if (exhausted.length === 0) return [];
  return renderTable(
    [
      { title: 'AGENTS', align: 'right' },
      { title: 'RESOURCE' },
      { title: 'NEEDED', align: 'right' },
      { title: 'MOST FREE', align: 'right' },
      { title: 'LARGEST AGENT', align: 'right' },
    ],
    exhausted.map(({ resource, needed, agents, mostFree, largestCapacity }) => [
      plain(`${agents}`),
      strong(resource),
      plain(formatAmount(resource, needed)),
      warn(formatAmount(resource, mostFree)),
      plain(formatAmount(resource, largestCapacity)),
    ]),
    style,
  );
}

export function quotaLine({ owner, resource, needed, used, limit, taskId }: QuotaHit): Line {
  const whose = taskId !== '' ? `task ${taskId}` : owner === '' ? 'the namespace' : `owner ${owner}`;
  const figure = (value: bigint) => formatAmount(resource, value);
  return [
    strong(resource),
    plain(` of ${whose}: needs ${figure(needed)}, `),
    warn(`${figure(used)} of ${figure(limit)} are taken`),
  ];
}

function scoreTable(scores: readonly AgentScore[], style: Style): string[] {
  if (scores.length === 0) return [];
  const parts = [...new Set(scores.flatMap((score) => byName(score.parts).map(([name]) => name)))];
  return renderTable(
    [
      { title: 'AGENT', shrinkTo: 12 },
      { title: 'SCORE' },
      ...parts.map((part, at) => ({ title: part.toUpperCase(), align: 'right' as const, dropOrder: at + 1 })),
    ],
    scores.map(({ agentId, score, parts: each }) => [
      strong(agentId),
      plain(`${score.toFixed(3)} ${gauge(score, 10)}`),
      ...parts.map((part) => plain(each[part]?.toFixed(2) ?? '')),
    ]),
    style,
  );
}
