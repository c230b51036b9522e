import type { PlacementExplanation } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { Ledger } from '../../resource/ledger.ts';
import { freeBudgets } from './budgets.ts';
import type { KnownTask } from './task-record.ts';
import type { Item, Waiting } from './waiting.ts';

/** Why something waits, and how long it has been so where that is known. */
export interface Why {
  reason: PendingReason;
  /** For people, with names and numbers. */
  detail: string;
}

/** What was found out of late, by what is wanted: many that wait want the same. */
export type Explanations = Map<string, { atMs: number; explanation: PlacementExplanation }>;

/** So long an explanation is good for others that want the same, milliseconds. */
const GOOD_MS = 500;
const MAX_EXPLANATIONS = 1000;

export interface WhyInput {
  item: Item;
  nowMs: number;
  ledger: Ledger;
  waiting: Waiting;
  keptFree: ReadonlyMap<string, string>;
  explanations: Explanations;
  /** Of whose budget there is too little. */
  parent: KnownTask | undefined;
}

/** Why something waits now. */
export function whyItWaits(input: WhyInput): Why {
  const { item, nowMs, ledger, waiting, parent } = input;
  if (item.notBeforeMs > nowMs) {
    const seconds = ((item.notBeforeMs - nowMs) / 1000).toFixed(1);
    return { reason: PendingReason.BACKOFF, detail: `it is tried again in ${seconds} s` };
  }
  const holder = waiting.keyHolder(item);
  if (holder !== undefined) {
    const id = holder.slice('task/'.length);
    const detail = `task ${id} of its ordering key ${item.orderingKey} comes first and has not ended`;
    return { reason: PendingReason.ORDERING_KEY, detail };
  }
  if (parent !== undefined) {
    const left = Object.entries(freeBudgets(parent.record)).map(([name, amount]) => `${amount} ${name}`);
    const detail = `its parent ${parent.id} has too little left to spend: ${left.join(', ') || 'nothing'}`;
    return { reason: PendingReason.BUDGET, detail };
  }
  const hit = ledger.accounts.admits(item.hold, nowMs);
  if (hit !== undefined) {
    const whose = hit.owner === '' ? "the namespace's" : `${hit.owner}'s`;
    const what = hit.kind === 'budget' ? 'budget' : 'quota';
    return {
      reason: hit.kind === 'budget' ? PendingReason.BUDGET : PendingReason.QUOTA,
      detail: `${whose} ${what} of ${hit.resource}: ${hit.used} of ${hit.limit} are taken, it needs ${hit.needed}`,
    };
  }
  const explanation = explanationOf(input);
  if (!explanation.placeable) return { reason: explanation.reason, detail: explanation.detail };
  return { reason: PendingReason.TURN, detail: 'there is room; others are before it' };
}

/** Where it would go, or why nowhere: all but quotas. */
export function explanationOf({
  item,
  nowMs,
  ledger,
  keptFree,
  explanations,
}: WhyInput): PlacementExplanation {
  const { pool } = ledger;
  const wanted = pool.classOf(item.want);
  try {
    const refusals = new Map<string, string>();
    for (const [agentId, untilMs] of item.refusals) {
      const words = untilMs === Number.POSITIVE_INFINITY ? 'it was lost with the task' : 'it declined';
      if (untilMs > nowMs) refusals.set(agentId, words);
    }
    const isAlone = refusals.size > 0 || [...keptFree.values()].includes(item.key);
    const known = isAlone ? undefined : explanations.get(wanted.key);
    if (known !== undefined && nowMs - known.atMs < GOOD_MS) return known.explanation;
    const explanation = pool.explain(wanted, { exclude: refusals, keptFree, forKey: item.key });
    // That there is room is not true for long.
    if (!isAlone && !explanation.placeable) {
      if (explanations.size >= MAX_EXPLANATIONS) explanations.clear();
      explanations.set(wanted.key, { atMs: nowMs, explanation });
    }
    return explanation;
  } finally {
    pool.release(wanted);
  }
}
