import { create } from '@bufbuild/protobuf';
import {
  type Excluded,
  ExcludedSchema,
  type Exhausted,
  ExhaustedSchema,
  PendingReason,
  type PlacementExplanation,
  PlacementExplanationSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { int64Of } from '../amounts.ts';
import { type Decider, narrowingOf } from './decider.ts';
import { detailOf, excludedDetail } from './explain-words.ts';
import { CONSTRAINTS, type ExhaustedTally, type Findings, type Funnel, findings } from './findings.ts';
import type { AgentEntry, Fleet } from './fleet.ts';
import { MARK_DRAINED } from './scan.ts';
import type { ExplainOptions } from './types.ts';
import type { WantClass } from './want-class.ts';

/** Why it goes nowhere, or where: all of it but quotas. Every agent is looked at. */
export function explainPlacement(given: {
  fleet: Fleet;
  decider: Decider;
  wantClass: WantClass;
  options: ExplainOptions;
}): PlacementExplanation {
  const { fleet, decider, wantClass, options } = given;
  const { whatIf } = options;
  // What is supposed is made so for the time of the question: all answers follow from the same numbers and rules.
  const supposed: AgentEntry[] = [];
  try {
    for (const [id, capacity] of whatIf?.capacities ?? []) {
      const entry = fleet.entry(id);
      if (entry?.agent === undefined) continue;
      supposed.push(entry);
      fleet.setCapacity(entry, capacity);
    }
    const marked = narrowingOf({ ...options, exclude: options.exclude && [...options.exclude.keys()] });
    if (whatIf !== undefined) marked.push({ mark: MARK_DRAINED, agentIds: whatIf.drained });
    return decider.decide(wantClass, marked, (scan) =>
      explanationOf(findings({ fleet, scan, wantClass, options })),
    );
  } finally {
    for (const entry of supposed) fleet.setCapacity(entry, entry.agent?.capacity ?? {});
  }
}

function explanationOf(found: Findings): PlacementExplanation {
  const { funnel } = found;
  const [best] = found.scores;
  const reason = reasonOf(funnel);
  return create(PlacementExplanationSchema, {
    placeable: best !== undefined,
    agentId: best?.score.agentId ?? '',
    reason,
    detail: detailOf(found, reason),
    agents: funnel.agents,
    eligible: funnel.eligible,
    excluded: excludedOf(found),
    exhausted: found.exhausted.filter(({ agents }) => agents > 0).map(exhaustedOf),
    scores: found.scores.map(({ score }) => score),
    couldEver: funnel.eligible > 0,
    fitting: funnel.fitting,
  });
}

function excludedOf({ excluded, wantClass }: Findings): Excluded[] {
  return CONSTRAINTS.flatMap((constraint) => {
    const tally = excluded.get(constraint);
    if (tally === undefined) return [];
    const { agents, examples } = tally;
    const detail = excludedDetail(constraint, tally, wantClass);
    return [create(ExcludedSchema, { constraint, detail, agents, examples })];
  });
}

function exhaustedOf({ resource, needed, agents, mostFree, largest }: ExhaustedTally): Exhausted {
  return create(ExhaustedSchema, {
    resource,
    needed: int64Of(needed),
    agents,
    mostFree: int64Of(mostFree),
    largestCapacity: int64Of(largest),
  });
}

/** Of several the one that has to change first: the first step that leaves no agent. */
function reasonOf(funnel: Funnel): PendingReason {
  if (funnel.capable === 0) return PendingReason.NO_CAPABILITY;
  if (funnel.allowed === 0) return PendingReason.CONSTRAINTS;
  if (funnel.eligible === 0) return PendingReason.TOO_LARGE;
  if (funnel.there === 0) return PendingReason.AGENTS_AWAY;
  if (funnel.willing === 0) return PendingReason.DECLINED;
  if (funnel.uncrowded === 0) return PendingReason.CONSTRAINTS;
  if (funnel.withRoom === 0) return PendingReason.NO_ROOM;
  return funnel.fitting === 0 ? PendingReason.TURN : PendingReason.UNSPECIFIED;
}
