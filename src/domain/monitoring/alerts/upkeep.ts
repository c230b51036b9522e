import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { AlertRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import { alertOf, isFiring, isOpen, silenceKey } from './alert-record.ts';
import type { AlertView } from './alert-view.ts';
import { BRAKE_ENGAGED } from './builtin-rules.ts';
import type { Drafts } from './drafts.ts';
import { Elapsed } from './elapsed.ts';
import type { EvaluatorPorts } from './evaluator-ports.ts';
import { clearForMs } from './judge.ts';
import type { Moment } from './metric-rules.ts';
import { holdsIn, type Rule } from './rule.ts';
import { endMsOf } from './silencing.ts';
import { type ResolveReason, resolve } from './transitions.ts';

export interface UpkeepOptions {
  namespace: string;
  view: AlertView;
  rules: ReadonlyMap<string, Rule>;
  retentionMs: number;
  agentLabels(namespace: string, agentId: string): { readonly [key: string]: string } | undefined;
  /** Whether the configuration has a service no more. */
  isGone: EvaluatorPorts['isGone'];
  /** An alert is over. */
  forget(id: string): void;
}

/** Records of alerts that are over, removed in one round at most. */
const TRIMMED = 200;
const TRIM_MS = 10_000;

/** Ends alerts that nothing else ends, and removes those that are over for long. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #elapsed = new Elapsed();
  #trimMs = Number.NEGATIVE_INFINITY;

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  /** Another replica judged meanwhile: what was seen to last counts no more. */
  begin(): void {
    this.#elapsed.clear();
  }

  run(drafts: Drafts, now: Moment): void {
    const { forget } = this.#options;
    for (const record of [...drafts.open()]) {
      const alert = alertOf(record);
      const reason = this.#reason(record, now);
      if (reason === undefined) continue;
      const draft = drafts.edit(alert.id);
      if (isFiring(alert)) resolve(draft, reason, now.storeMs, reason === 'event' ? record.lastEvent : '');
      else draft.removed = true;
      this.#elapsed.forget(alert.id);
      forget(alert.id);
    }
    if (now.monoMs - this.#trimMs >= TRIM_MS) this.#trim(drafts, now);
  }

  /** Why an alert is over; undefined: it is not, or others see to it. */
  #reason(record: AlertRecord, now: Moment): ResolveReason | undefined {
    const { rules, namespace } = this.#options;
    const { id, rule: name, labels, flapping } = alertOf(record);
    const rule = rules.get(name);
    if (rule === undefined || !holdsIn(rule, namespace)) return 'rule_removed';
    if (rule.condition.kind !== 'events') return undefined;
    if (this.#isGone(labels)) return 'subject_removed';
    const holdMs = clearForMs({ clearForMs: 0 }, flapping);
    const isExpired = record.expireMs !== 0n && Number(record.expireMs) + holdMs <= now.storeMs;
    if (isExpired) return 'expired';
    if (record.clearMs === 0n) {
      this.#elapsed.forget(id);
      return undefined;
    }
    // Others may be under a brake: its group sees to it.
    if (name === BRAKE_ENGAGED) return undefined;
    return this.#elapsed.since(id, Number(record.clearMs), now) >= holdMs ? 'event' : undefined;
  }

  #isGone({ agent_id: agentId, service }: { readonly [key: string]: string }): boolean {
    const { namespace, agentLabels, isGone } = this.#options;
    if (service !== undefined && namespace === SYSTEM_NAMESPACE)
      return isGone(namespace, { scope: MetricScope.SERVICE, id: service, resource: '' });
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
