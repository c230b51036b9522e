import { msFromTimestamp } from '../../../lib/proto-time.ts';
import { alertOf, isFiring, isOpen, silenceKey } from './alert-record.ts';
import type { AlertView } from './alert-view.ts';
import type { Drafts } from './drafts.ts';
import type { Moment } from './metric-rules.ts';
import { holdsIn, type Rule } from './rule.ts';
import { endMsOf } from './silencing.ts';
import { resolve } from './transitions.ts';

export interface UpkeepOptions {
  namespace: string;
  view: AlertView;
  rules: ReadonlyMap<string, Rule>;
  retentionMs: number;
  agentLabels(namespace: string, agentId: string): { readonly [key: string]: string } | undefined;
  /** An alert is over. */
  forget(id: string): void;
}

/** Records of alerts that are over, removed in one round at most. */
const TRIMMED = 200;
const TRIM_MS = 10_000;

/** Ends alerts that nothing else ends, and removes those that are over for long. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  #trimMs = Number.NEGATIVE_INFINITY;

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  run(drafts: Drafts, now: Moment): void {
    const { rules, namespace, forget } = this.#options;
    for (const record of [...drafts.open()]) {
      const alert = alertOf(record);
      const rule = rules.get(alert.rule);
      const reason =
        rule === undefined || !holdsIn(rule, namespace)
          ? 'rule_removed'
          : record.expireMs !== 0n && Number(record.expireMs) <= now.storeMs
            ? 'expired'
            : rule.condition.kind === 'events' && this.#isGone(alert.labels)
              ? 'subject_removed'
              : undefined;
      if (reason === undefined) continue;
      const draft = drafts.edit(alert.id);
      if (isFiring(alert)) resolve(draft, reason, now.storeMs);
      else draft.removed = true;
      forget(alert.id);
    }
    if (now.monoMs - this.#trimMs >= TRIM_MS) this.#trim(drafts, now);
  }

  #isGone({ agent_id: agentId }: { readonly [key: string]: string }): boolean {
    const { namespace, agentLabels } = this.#options;
    return agentId !== undefined && agentLabels(namespace, agentId) === undefined;
  }

  #trim(drafts: Drafts, now: Moment): void {
    const { view, namespace, retentionMs } = this.#options;
    let removed = 0;
    for (const [id, { record }] of view.records(namespace)) {
      const alert = alertOf(record);
      if (isOpen(alert) || alert.resolveTime === undefined || drafts.has(id)) continue;
      if (now.storeMs - msFromTimestamp(alert.resolveTime) < retentionMs) continue;
      drafts.edit(id).removed = true;
      removed += 1;
      if (removed === TRIMMED) return;
    }
    for (const known of view.silences()) {
      const { silence } = known.record;
      if (known.namespace !== namespace || silence === undefined) continue;
      if (now.storeMs - endMsOf(silence) < retentionMs) continue;
      drafts.oldSilences.push({ key: silenceKey(known.id), revision: known.revision });
      removed += 1;
      if (removed === TRIMMED) return;
    }
    this.#trimMs = now.monoMs;
  }
}
