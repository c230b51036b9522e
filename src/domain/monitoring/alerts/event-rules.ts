import type { Event } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { AlertRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import { matches } from '../../agent/label-selector.ts';
import { alertOf, fingerprintOf, isOpen } from './alert-record.ts';
import type { Drafts } from './drafts.ts';
import { subjectOfEvent, summaryOfEvent } from './event-subjects.ts';
import type { Moment } from './metric-rules.ts';
import { type EventRule, holdsIn } from './rule.ts';
import { fire, resolve } from './transitions.ts';

export interface EventRulesOptions {
  namespace: string;
  rules: readonly EventRule[];
  /** The labels of an agent; undefined: there is none of that id. */
  agentLabels(namespace: string, agentId: string): { readonly [key: string]: string } | undefined;
  /** Whether others are under an alert: then it goes on until these are over, or have another cause. */
  hasMembers(alertId: string): boolean;
  /** Whether a further alert may begin. */
  hasRoom(drafts: Drafts): boolean;
}

interface Concerned {
  fired: readonly EventRule[];
  cleared: readonly EventRule[];
}

const NOTHING: Concerned = { fired: [], cleared: [] };
/** Types and subjects are made up by others: so many are remembered. */
const MAX_TYPES = 1000;
const MAX_COUNTED = 10_000;

/** Judges what happened in a namespace by the rules. */
export class EventRules {
  readonly #options: EventRulesOptions;
  readonly #byType = new Map<string, Concerned>();
  /** When events happened of which several fire, by what they are about. */
  readonly #counted = new Map<string, number[]>();

  constructor(options: EventRulesOptions) {
    this.#options = { ...options, rules: options.rules.filter((rule) => holdsIn(rule, options.namespace)) };
  }

  /** Whether events of a type are of interest to any rule. */
  wants(type: string): boolean {
    const { fired, cleared } = this.#concerned(type);
    return fired.length > 0 || cleared.length > 0;
  }

  /** The longest window in which events are counted; 0: none are. */
  get windowMs(): number {
    return Math.max(
      0,
      ...this.#options.rules.map(({ condition }) => (condition.count > 1 ? condition.windowMs : 0)),
    );
  }

  /** Counts what happened before, without firing anything. */
  recall(event: Event): void {
    for (const rule of this.#concerned(event.type).fired) {
      if (rule.condition.count > 1 && this.#concerns(rule, event)) this.#count(rule, event);
    }
  }

  take(events: readonly Event[], drafts: Drafts, now: Moment): void {
    const open = new OpenAlerts(drafts, this.#options.rules);
    for (const event of events) {
      const { fired, cleared } = this.#concerned(event.type);
      for (const rule of cleared) this.#clear(rule, event, drafts, open, now);
      for (const rule of fired) {
        if (this.#concerns(rule, event)) this.#fire(rule, event, drafts, open, now);
      }
    }
  }

  #concerned(type: string): Concerned {
    const known = this.#byType.get(type);
    if (known !== undefined) return known;
    const { rules } = this.#options;
    const fired = rules.filter(({ condition }) => condition.types.matches(type));
    const cleared = rules.filter(({ condition }) => condition.clears.matches(type));
    const concerned = fired.length + cleared.length === 0 ? NOTHING : { fired, cleared };
    if (this.#byType.size < MAX_TYPES) this.#byType.set(type, concerned);
    return concerned;
  }

  #concerns({ condition }: EventRule, event: Event): boolean {
    if (event.severity < condition.minSeverity) return false;
    if (condition.selector === undefined) return true;
    const labels =
      event.agentId === '' ? undefined : this.#options.agentLabels(this.#options.namespace, event.agentId);
    return labels !== undefined && matches(condition.selector, labels);
  }

  #fire(rule: EventRule, event: Event, drafts: Drafts, open: OpenAlerts, now: Moment): void {
    const subject = subjectOfEvent(event);
    const fingerprint = fingerprintOf(rule.name, subject);
    const before = drafts.about(fingerprint);
    const { condition } = rule;
    const expireMs = expiryOf(rule, event, now);
    if (before !== undefined && isOpen(alertOf(before))) {
      const draft = drafts.edit(alertOf(before).id);
      draft.record.lastEvent = event.id;
      draft.record.expireMs = expireMs;
      draft.record.clearMs = 0n;
      return;
    }
    if (condition.count > 1 && this.#count(rule, event) < condition.count) return;
    if (!this.#options.hasRoom(drafts)) return;
    this.#counted.delete(fingerprint);
    const draft = drafts.begin(rule, subject, now.storeMs);
    const alert = alertOf(draft.record);
    alert.summary = summaryOfEvent(rule, event);
    alert.causeEventId = event.id;
    draft.record.lastEvent = event.id;
    draft.record.expireMs = expireMs;
    fire(draft, before, now.storeMs);
    open.add(draft.record);
  }

  /** How many there were in the window, this one included. */
  #count(rule: EventRule, event: Event): number {
    const { count, windowMs } = rule.condition;
    const key = fingerprintOf(rule.name, subjectOfEvent(event));
    const atMs = event.time === undefined ? 0 : msFromTimestamp(event.time);
    const times = (this.#counted.get(key) ?? []).filter((ms) => windowMs === 0 || ms > atMs - windowMs);
    times.push(atMs);
    if (times.length > count) times.shift();
    this.#counted.delete(key);
    this.#counted.set(key, times);
    if (this.#counted.size > MAX_COUNTED) this.#counted.delete(this.#counted.keys().next().value ?? key);
    return times.length;
  }

  #clear(rule: EventRule, event: Event, drafts: Drafts, open: OpenAlerts, now: Moment): void {
    const subject = subjectOfEvent(event);
    for (const id of open.candidates(rule.name, subject.agent_id)) {
      const record = drafts.peek(id);
      if (record === undefined || !isOpen(alertOf(record)) || !isSameSubject(record, rule, subject)) continue;
      const draft = drafts.edit(id);
      draft.record.lastEvent = event.id;
      // What flaps, or has others under it, is resolved in the upkeep.
      const isHeld = alertOf(draft.record).flapping || this.#options.hasMembers(id);
      if (!isHeld) resolve(draft, 'event', now.storeMs, event.id);
      else if (draft.record.clearMs === 0n) draft.record.clearMs = BigInt(Math.round(now.storeMs));
    }
  }
}

/** Open alerts by rule and agent, so that an event finds those that it concerns. Made anew for each batch of events. */
class OpenAlerts {
  readonly #byRule = new Map<string, Map<string, Set<string>>>();

  constructor(drafts: Drafts, rules: readonly EventRule[]) {
    for (const { name } of rules) this.#byRule.set(name, new Map());
    for (const record of drafts.open()) this.add(record);
  }

  add(record: AlertRecord): void {
    const { rule, labels, id } = alertOf(record);
    const byAgent = this.#byRule.get(rule);
    const agentId = labels.agent_id ?? '';
    byAgent?.set(agentId, (byAgent.get(agentId) ?? new Set()).add(id));
  }

  *candidates(rule: string, agentId: string | undefined): IterableIterator<string> {
    const byAgent = this.#byRule.get(rule);
    if (byAgent === undefined) return;
    if (agentId === undefined) for (const ids of byAgent.values()) yield* ids;
    else for (const name of [agentId, '']) yield* byAgent.get(name) ?? [];
  }
}

/** Nothing that both name may differ, and something must be the same; except where neither names anything. */
function isSameSubject(
  record: AlertRecord,
  rule: EventRule,
  subject: Readonly<Record<string, string>>,
): boolean {
  const names = Object.keys(alertOf(record).labels).filter((name) => !Object.hasOwn(rule.labels, name));
  const labels = alertOf(record).labels;
  const common = names.filter((name) => Object.hasOwn(subject, name));
  if (common.length === 0) return names.length === 0 && Object.keys(subject).length === 0;
  return common.every((name) => labels[name] === subject[name]);
}

/** When it is over without a further event, by the store's clock; 0n: never. */
function expiryOf({ condition }: EventRule, event: Event, { storeMs }: Moment): bigint {
  const given = condition.expireAttribute === '' ? '' : (event.attributes[condition.expireAttribute] ?? '');
  const atMs = given === '' ? Number.NaN : Date.parse(given);
  if (!Number.isNaN(atMs)) return BigInt(Math.round(atMs));
  return condition.expireAfterMs === undefined ? 0n : BigInt(Math.round(storeMs + condition.expireAfterMs));
}
