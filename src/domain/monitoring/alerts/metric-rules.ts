import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { AlertRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import { matches } from '../../agent/label-selector.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import type { Reading } from '../ports.ts';
import { alertOf, fingerprintOf, isFiring, isOpen } from './alert-record.ts';
import type { Draft, Drafts } from './drafts.ts';
import { Elapsed } from './elapsed.ts';
import { GrowthWindows } from './growth.ts';
import { isCrossed, judge, type Next, type Standing } from './judge.ts';
import { holdsIn, type MetricRule } from './rule.ts';
import { Samples } from './samples.ts';
import type { Subject } from './subjects-gone.ts';
import { summaryOf } from './summaries.ts';
import { addSamples, fire, resolve, startMsOf } from './transitions.ts';

/** Now, by the clocks that matter. */
export interface Moment {
  storeMs: number;
  monoMs: number;
}

export interface MetricRulesOptions {
  namespace: string;
  rules: readonly MetricRule[];
  /** The figures of the catalogue, and others that only rules know. */
  each(namespace: string, metric: string, scope: MetricScope): Iterable<Reading>;
  /** Those of one agent. */
  ofAgent(namespace: string, metric: string, agentId: string): Iterable<Reading>;
  /** The labels of an agent; undefined: there is none of that id. */
  agentLabels(namespace: string, agentId: string): { readonly [key: string]: string } | undefined;
  /** Whether a further alert may begin. */
  hasRoom(drafts: Drafts): boolean;
  /** Whether what a figure was of is known to be gone: then no data will come any more. */
  isGone(namespace: string, of: Subject): boolean;
}

/** A stored figure of an open alert is renewed this often. */
const REFRESH_MS = 30_000;

/** Figures of all agents take long: they are judged less often than the others. */
export type Lane = 'few' | 'all';

/** Judges the figures of a namespace by the rules. */
export class MetricRules {
  readonly #options: MetricRulesOptions;
  readonly #elapsed = new Elapsed();
  readonly #samples = new Samples();
  readonly #growth = new GrowthWindows();
  readonly #refreshed = new Map<string, number>();
  #settledMs = Number.NEGATIVE_INFINITY;

  constructor(options: MetricRulesOptions) {
    const { rules, namespace } = options;
    this.#options = { ...options, rules: rules.filter((rule) => isJudgedIn(rule, namespace)) };
  }

  /**
   * What it was seen to last and measured before counts no more: another replica judged meanwhile.
   * @param settleMs so long its figures may lack what others measure: until then nothing begins, clears or is dropped
   */
  begin(nowMs: number, settleMs: number): void {
    this.#settledMs = nowMs + settleMs;
    this.#elapsed.clear();
    this.#samples.clear();
  }

  /** Alerts that are over need not be remembered. */
  forget(id: string): void {
    this.#elapsed.forget(startKey(id));
    this.#elapsed.forget(clearKey(id));
    this.#refreshed.delete(id);
  }

  /** While another replica judges: how counts grow is seen all the same, so that nothing is missed when this one takes over. */
  watch(now: Moment): void {
    const { namespace, rules, each } = this.#options;
    for (const rule of rules) {
      const { metric, scope, growthMs } = rule.condition;
      if (growthMs === 0) continue;
      for (const reading of each(namespace, metric, scope)) {
        if (!this.#concerns(rule, reading)) continue;
        this.#growth.of(fingerprintOf(rule.name, subjectOf(scope, reading)), reading.value, growthMs, now);
      }
    }
  }

  /** @param crossed agents of which a figure went past a threshold: they are judged in each lane */
  judge(drafts: Drafts, lane: Lane, now: Moment, crossed: ReadonlySet<string> = NOBODY): void {
    const { namespace, rules, each } = this.#options;
    const open = this.#openByRule(drafts);
    for (const rule of rules) {
      const { metric, scope } = rule.condition;
      const about = open.get(rule.name) ?? NOTHING;
      if (scope === MetricScope.AGENT && lane === 'few') {
        this.#judgeFew(drafts, rule, about, crossed, now);
        continue;
      }
      const unheard = new Set(about.ids);
      for (const reading of each(namespace, metric, scope)) {
        const id = this.#judgeReading(drafts, rule, reading, about, now);
        if (id !== undefined) unheard.delete(id);
      }
      if (lane === 'few') continue;
      for (const id of unheard) this.#judgeUnheard(drafts, rule, id, now);
    }
  }

  /** Of a rule of agents: those that crossed something, and those whose time is running. */
  #judgeFew(
    drafts: Drafts,
    rule: MetricRule,
    about: OpenOfRule,
    crossed: ReadonlySet<string>,
    now: Moment,
  ): void {
    const { namespace, ofAgent } = this.#options;
    for (const agentId of new Set([...crossed, ...about.pending]))
      for (const reading of ofAgent(namespace, rule.condition.metric, agentId))
        this.#judgeReading(drafts, rule, reading, about, now);
  }

  /** Returns the id of the alert about it that there was, if any. */
  #judgeReading(
    drafts: Drafts,
    rule: MetricRule,
    reading: Reading,
    about: OpenOfRule,
    now: Moment,
  ): string | undefined {
    const { condition } = rule;
    const { scope } = condition;
    // Nearly all agents are well: then nothing more is worked out.
    if (scope === MetricScope.AGENT && !about.agents.has(reading.id) && !begins(rule, reading.value))
      return undefined;
    if (!this.#concerns(rule, reading)) return undefined;
    const subject = subjectOf(scope, reading);
    const fingerprint = fingerprintOf(rule.name, subject);
    const before = drafts.about(fingerprint);
    this.#judgeOne(drafts, rule, { fingerprint, subject, reading, before }, now);
    return before === undefined ? undefined : alertOf(before).id;
  }

  #concerns({ condition }: MetricRule, { id, resource }: Reading): boolean {
    const { scope, selector } = condition;
    if (condition.resource !== '' && resource !== condition.resource) return false;
    if (selector === undefined || scope === MetricScope.FLEET) return true;
    if (scope !== MetricScope.AGENT) return matches(selector, { name: id });
    const labels = this.#options.agentLabels(this.#options.namespace, id);
    return labels !== undefined && matches(selector, labels);
  }

  /** An open alert without a figure: nothing is known, or what it was about is gone. */
  #judgeUnheard(drafts: Drafts, rule: MetricRule, id: string, now: Moment): void {
    const record = drafts.peek(id);
    if (record === undefined) return;
    const alert = alertOf(record);
    const { scope } = rule.condition;
    const name = nameOf(scope, alert.labels);
    const resource = alert.labels.resource ?? '';
    if (this.#options.isGone(this.#options.namespace, { scope, id: name, resource })) {
      const draft = drafts.edit(id);
      if (isFiring(alert)) resolve(draft, 'subject_removed', now.storeMs);
      else draft.removed = true;
      this.forget(id);
      return;
    }
    const reading = { metric: rule.condition.metric, scope, id: name, resource };
    const given = { ...reading, value: undefined, ageMs: 0, samples: 0 };
    const { fingerprint } = record;
    this.#judgeOne(drafts, rule, { fingerprint, subject: {}, reading: given, before: record }, now);
  }

  #judgeOne(drafts: Drafts, rule: MetricRule, judged: Judged, now: Moment): void {
    const { condition } = rule;
    const { fingerprint, subject, before } = judged;
    const open = before !== undefined && isOpen(alertOf(before)) ? before : undefined;
    const reading =
      condition.growthMs === 0
        ? judged.reading
        : {
            ...judged.reading,
            value: this.#growth.of(fingerprint, judged.reading.value, condition.growthMs, now),
          };
    // Of all agents that are well nothing is remembered.
    if (reading.value !== undefined && (open !== undefined || condition.scope !== MetricScope.AGENT))
      this.#samples.add(fingerprint, reading.value, now);
    const standing = open && this.#standing(open, now);
    const next = judge(standing, reading.value, condition);
    if (next.state === 'none' && open === undefined) return;
    if (
      now.monoMs < this.#settledMs &&
      (open === undefined || next.state !== 'firing' || next.isClear || next.noData)
    )
      return;
    const fresh = open === undefined ? undefined : alertOf(open);
    if (open !== undefined && fresh !== undefined && !this.#isNews(open, next, reading.value, now)) return;
    if (fresh === undefined && !this.#options.hasRoom(drafts)) return;
    const draft = fresh === undefined ? drafts.begin(rule, subject, now.storeMs) : drafts.edit(fresh.id);
    this.#apply(draft, { rule, next, reading, fingerprint, before }, now);
  }

  #standing(record: AlertRecord, now: Moment): Standing {
    const alert = alertOf(record);
    const last = alert.samples.at(-1)?.time;
    return {
      fired: isFiring(alert),
      heldMs: this.#elapsed.since(startKey(alert.id), startMsOf(alert), now),
      clearMs:
        record.clearMs === 0n
          ? undefined
          : this.#elapsed.since(clearKey(alert.id), Number(record.clearMs), now),
      noData: alert.noData,
      gapMs: last === undefined ? 0 : Math.max(0, now.storeMs - msFromTimestamp(last)),
      flapping: alert.flapping,
      byNoData: alert.threshold === undefined,
    };
  }

  /** Whether it is to be stored: it stands otherwise, or its figure was stored long ago. */
  #isNews(record: AlertRecord, next: Next, value: number | undefined, now: Moment): boolean {
    const alert = alertOf(record);
    const fired = isFiring(alert);
    if (next.state !== (fired ? 'firing' : 'pending') || next.restarts) return true;
    if (next.noData !== alert.noData || next.isClear !== (record.clearMs !== 0n)) return true;
    if (value === undefined || value === alert.value) return false;
    const atMs = this.#refreshed.get(alert.id);
    if (atMs === undefined) this.#refreshed.set(alert.id, now.monoMs);
    return atMs !== undefined && now.monoMs - atMs >= REFRESH_MS;
  }

  #apply(draft: Draft, given: Given, now: Moment): void {
    const { rule, next, reading, fingerprint, before } = given;
    const alert = alertOf(draft.record);
    this.#refreshed.set(alert.id, now.monoMs);
    addSamples(alert, this.#samples.of(fingerprint));
    if (next.state === 'none') {
      draft.removed = true;
      this.forget(alert.id);
      return;
    }
    if (next.restarts) alert.startTime = timestampFromMs(now.storeMs);
    const isNew = draft.revision === 0n && alert.summary === '';
    if (isNew && !next.noData) alert.threshold = rule.condition.threshold;
    if (next.state !== 'resolved' && (!next.isClear || isNew)) {
      if (reading.value !== undefined || isNew) alert.summary = summaryOf(rule.condition, reading);
    }
    alert.noData = next.noData;
    if (!next.isClear) draft.record.clearMs = 0n;
    else if (draft.record.clearMs === 0n) draft.record.clearMs = BigInt(Math.round(now.storeMs));
    if (next.state === 'firing' && !isFiring(alert)) fire(draft, before, now.storeMs);
    if (next.state === 'resolved') {
      resolve(draft, 'cleared', now.storeMs);
      this.forget(alert.id);
    }
  }

  #openByRule(drafts: Drafts): Map<string, OpenOfRule> {
    const found = new Map<string, OpenOfRule>();
    for (const { name } of this.#options.rules)
      found.set(name, { ids: new Set(), agents: new Set(), pending: new Set() });
    for (const record of drafts.open()) {
      const alert = alertOf(record);
      const of = found.get(alert.rule);
      if (of === undefined) continue;
      of.ids.add(alert.id);
      const { agent_id: agentId } = alert.labels;
      if (agentId === undefined) continue;
      of.agents.add(agentId);
      if (!isFiring(alert)) of.pending.add(agentId);
    }
    return found;
  }
}

/** Open alerts of a rule: their ids, and the agents that they are about. */
interface OpenOfRule {
  ids: Set<string>;
  agents: Set<string>;
  /** Agents of those that do not fire yet. */
  pending: Set<string>;
}

const NOBODY: ReadonlySet<string> = new Set();
const NOTHING: OpenOfRule = { ids: new Set(), agents: new Set(), pending: new Set() };

/** Whether it would begin an alert. */
const begins = ({ condition }: MetricRule, value: number | undefined): boolean =>
  condition.growthMs > 0 ||
  isCrossed(condition, value) ||
  (condition.noData === 'fire' && (value === undefined || Number.isNaN(value)));

interface Judged {
  fingerprint: string;
  subject: Readonly<Record<string, string>>;
  reading: Reading;
  /** The open one about the same, or the last. */
  before: AlertRecord | undefined;
}

interface Given extends Pick<Judged, 'fingerprint' | 'reading' | 'before'> {
  rule: MetricRule;
  next: Next;
}

const startKey = (id: string): string => `${id}/start`;
const clearKey = (id: string): string => `${id}/clear`;

/** Figures of replicas and services are in the namespace of the service itself, all others in those of agents. */
function isJudgedIn(rule: MetricRule, namespace: string): boolean {
  const { scope } = rule.condition;
  const ofSystem = scope === MetricScope.REPLICA || scope === MetricScope.SERVICE;
  return ofSystem === (namespace === SYSTEM_NAMESPACE) && holdsIn(rule, namespace);
}

const LABELS: Readonly<Record<number, string>> = {
  [MetricScope.ZONE]: 'zone',
  [MetricScope.AGENT]: 'agent_id',
  [MetricScope.REPLICA]: 'replica',
  [MetricScope.SERVICE]: 'service',
};

function subjectOf(scope: MetricScope, { id, resource, metric }: Reading): Record<string, string> {
  const subject: Record<string, string> = {};
  const label = metric === 'sink_up' ? 'sink' : LABELS[scope];
  if (label !== undefined) subject[label] = id;
  if (resource !== '') subject.resource = resource;
  return subject;
}

const nameOf = (scope: MetricScope, labels: Readonly<Record<string, string>>): string =>
  labels.sink ?? labels[LABELS[scope] ?? ''] ?? '';
