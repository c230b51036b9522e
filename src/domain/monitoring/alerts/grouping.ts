import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { AlertRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { alertOf, fingerprintOf, isFiring, isOpen } from './alert-record.ts';
import { BRAKE_ENGAGED, COMMON_CAUSE } from './builtin-rules.ts';
import type { Drafts } from './drafts.ts';
import { Elapsed } from './elapsed.ts';
import { clearForMs } from './judge.ts';
import type { Moment } from './metric-rules.ts';
import { isMetricRule, type Rule } from './rule.ts';
import { fire, fireMsOf, resolve, startMsOf } from './transitions.ts';

export interface GroupingOptions {
  namespace: string;
  rules: ReadonlyMap<string, Rule>;
  /** The zone of an agent; empty: none. */
  zoneOf(namespace: string, agentId: string): string;
  /** How many agents should be at work. */
  agents(namespace: string): number;
  members(headId: string): ReadonlySet<string>;
}

/** Alerts of one rule about so many agents, and about such a share of all, that begin within so long have one cause. */
export const ENOUGH = 5;
export const SHARE = 0.1;
export const BURST_MS = 10_000;
/** What began so long before a brake was set is explained by what set it. */
const BEFORE_BRAKE_MS = 60_000;
/** A brake's alert goes on for so long at most after it was lifted, while others under it are not over. */
export const LINGER_MS = 60_000;
/** So many alerts change their group in one round. */
const AT_A_TIME = 500;
const SHOWN_SUBJECTS = 16;

/** Figures of a fleet that a loss of many agents explains. */
const EXPLAINED = new Set(['agent_health', 'agents_connected', 'agents_lost']);

interface Burst {
  /** Not yet under a common alert. */
  recent: { id: string; monoMs: number }[];
  lastMs: number;
}

/** Puts alerts under the one whose cause explains them: these are not sent. */
export class Grouping {
  readonly #options: GroupingOptions;
  readonly #elapsed = new Elapsed();
  readonly #bursts = new Map<string, Burst>();

  constructor(options: GroupingOptions) {
    this.#options = options;
  }

  /** Another replica judged meanwhile: bursts begin anew. */
  begin(): void {
    this.#bursts.clear();
    this.#elapsed.clear();
  }

  /** Whether a cause may turn up a moment later: then it is not told at once. */
  mayHaveCause(record: AlertRecord): boolean {
    const { labels, rule } = alertOf(record);
    if (rule === BRAKE_ENGAGED || rule === COMMON_CAUSE) return false;
    if (labels.agent_id !== undefined || labels.zone !== undefined) return true;
    const known = this.#options.rules.get(rule);
    return known !== undefined && isMetricRule(known) && isExplained(known.condition);
  }

  /** What changed finds its head; with `everything`, so does all that is open. */
  group(drafts: Drafts, now: Moment, everything: boolean): void {
    const heads = this.#brakes(drafts);
    const anew = heads.some(({ isNew }) => isNew);
    const found = everything || anew ? drafts.open() : changed(drafts);
    let moved = 0;
    for (const record of [...found]) {
      const alert = alertOf(record);
      if (!isFiring(alert) || alert.groupedUnder !== '' || alert.rule === COMMON_CAUSE) continue;
      const own = heads.findIndex((brake) => alertOf(brake.record).id === alert.id);
      // A brake can be under those before it only: never two under each other.
      const before = own < 0 ? heads : heads.slice(0, own);
      const head = before.find((brake) => this.#explains(brake, record));
      if (head !== undefined) {
        if (moved++ < AT_A_TIME) this.#join(drafts, alertOf(head.record).id, alert.id);
      } else if (drafts.isNew(alert.id)) this.#joinBurst(drafts, record, now);
    }
  }

  /** Heads that are over: what is still open under them gets another one. */
  upkeep(drafts: Drafts, now: Moment): void {
    for (const record of [...drafts.open()]) {
      const { id, rule } = alertOf(record);
      if (rule !== BRAKE_ENGAGED && rule !== COMMON_CAUSE) continue;
      const left = [...this.#options.members(id)].filter((member) => {
        const found = drafts.peek(member);
        return found !== undefined && isOpen(alertOf(found)) && alertOf(found).groupedUnder === id;
      });
      if (rule === COMMON_CAUSE) {
        const isClear = left.length === 0 && now.storeMs - fireMsOf(alertOf(record)) > 0;
        if (isClear !== (record.clearMs !== 0n))
          drafts.edit(id).record.clearMs = isClear ? BigInt(Math.round(now.storeMs)) : 0n;
        if (isClear && this.#isClearForLong(drafts.peek(id) ?? record, now))
          resolve(drafts.edit(id), 'cleared', now.storeMs);
        continue;
      }
      if (record.clearMs === 0n) continue;
      if (left.length > 0 && now.storeMs - Number(record.clearMs) < LINGER_MS) continue;
      if (left.length > 0) this.#moveOn(drafts, record, left, now);
      if (left.length <= AT_A_TIME && this.#isClearForLong(record, now))
        resolve(drafts.edit(id), 'event', now.storeMs, record.lastEvent);
    }
  }

  /** What flaps is held for a while. */
  #isClearForLong(record: AlertRecord, now: Moment): boolean {
    const { id, flapping } = alertOf(record);
    if (!flapping) return true;
    const isLong =
      this.#elapsed.since(id, Number(record.clearMs), now) >= clearForMs({ clearForMs: 0 }, flapping);
    if (isLong) this.#elapsed.forget(id);
    return isLong;
  }

  #brakes(drafts: Drafts): Head[] {
    const heads: Head[] = [];
    for (const record of drafts.open()) {
      const alert = alertOf(record);
      if (alert.rule !== BRAKE_ENGAGED || !isFiring(alert) || record.clearMs !== 0n) continue;
      const { failing, agents } = figuresOf(alert.summary);
      const isNew = drafts.isNew(alert.id);
      heads.push({
        record,
        zone: alert.labels.zone ?? '',
        startMs: startMsOf(alert),
        failing,
        agents,
        isNew,
      });
    }
    // One brake may be set because of the other: the zone's is the cause if nearly all that failed is of it.
    const whole = heads.find(({ zone }) => zone === '');
    if (whole === undefined || heads.length < 2) return heads.filter(isHead);
    const zone = heads.find((head) => head.zone !== '' && head.failing >= 0.9 * whole.failing);
    const first = alertOf(whole.record).groupedUnder === '' && !whole.isNew ? whole : (zone ?? whole);
    return [first, ...heads.filter((head) => head !== first)].filter(isHead);
  }

  #explains(head: Head, record: AlertRecord): boolean {
    const alert = alertOf(record);
    if (startMsOf(alert) < head.startMs - BEFORE_BRAKE_MS) return false;
    const { agent_id: agentId, zone } = alert.labels;
    if (alert.rule === BRAKE_ENGAGED) return isPartOf(alert, head);
    if (agentId !== undefined)
      return head.zone === '' || this.#options.zoneOf(this.#options.namespace, agentId) === head.zone;
    if (zone !== undefined) return head.zone === '' || zone === head.zone;
    const rule = this.#options.rules.get(alert.rule);
    return rule !== undefined && isMetricRule(rule) && isExplained(rule.condition);
  }

  #joinBurst(drafts: Drafts, record: AlertRecord, now: Moment): void {
    const { id, rule: name, labels } = alertOf(record);
    if (labels.agent_id === undefined) return;
    const burst = this.#bursts.get(name) ?? { recent: [], lastMs: Number.NEGATIVE_INFINITY };
    this.#bursts.set(name, burst);
    const fingerprint = fingerprintOf(COMMON_CAUSE, { rule: name });
    const head = drafts.about(fingerprint);
    const headOpen = head !== undefined && isOpen(alertOf(head));
    if (headOpen && now.monoMs - burst.lastMs <= BURST_MS) {
      burst.lastMs = now.monoMs;
      this.#join(drafts, alertOf(head).id, id);
      return;
    }
    burst.recent = burst.recent.filter(({ monoMs }) => now.monoMs - monoMs <= BURST_MS);
    burst.recent.push({ id, monoMs: now.monoMs });
    const enough = Math.max(ENOUGH, SHARE * this.#options.agents(this.#options.namespace));
    if (burst.recent.length < enough) return;
    const headId = headOpen ? alertOf(head).id : this.#beginCommon(drafts, name, now);
    for (const { id: member } of burst.recent) {
      const found = drafts.peek(member);
      if (found === undefined || !isFiring(alertOf(found)) || alertOf(found).groupedUnder !== '') continue;
      this.#join(drafts, headId, member);
    }
    burst.recent = [];
    burst.lastMs = now.monoMs;
  }

  #beginCommon(drafts: Drafts, ruleName: string, now: Moment): string {
    const own = this.#options.rules.get(COMMON_CAUSE);
    const of = this.#options.rules.get(ruleName);
    if (own === undefined) throw new Error('there is no rule of common causes');
    const before = drafts.about(fingerprintOf(COMMON_CAUSE, { rule: ruleName }));
    const draft = drafts.begin(
      { ...own, severity: of?.severity ?? own.severity, sinks: of?.sinks ?? [] },
      { rule: ruleName },
      now.storeMs,
    );
    fire(draft, before, now.storeMs);
    return draft.id;
  }

  #join(drafts: Drafts, headId: string, memberId: string): void {
    if (headId === memberId) return;
    const member = alertOf(drafts.edit(memberId).record);
    const { record } = drafts.edit(headId);
    const head = alertOf(record);
    member.groupedUnder = headId;
    head.groupSize += 1;
    const subject = member.labels.agent_id ?? member.labels.zone ?? member.rule;
    if (head.groupSubjects.length < SHOWN_SUBJECTS) head.groupSubjects.push(subject);
    if (head.rule !== COMMON_CAUSE) return;
    const zones = new Set(head.groupSubjects.map((id) => this.#options.zoneOf(this.#options.namespace, id)));
    const [zone = ''] = zones;
    const where = zones.size === 1 && zone !== '' ? ` of zone ${zone}` : '';
    head.summary = `${head.groupSize} alerts of ${head.labels.rule} about agents${where} began within ${BURST_MS / 1000} s: one cause`;
  }

  /** What is left under a head that is over goes under a common alert; a single one stands for itself. */
  #moveOn(drafts: Drafts, head: AlertRecord, left: readonly string[], now: Moment): void {
    const some = left.slice(0, AT_A_TIME);
    if (left.length === 1 && some[0] !== undefined) {
      alertOf(drafts.edit(some[0]).record).groupedUnder = '';
      return;
    }
    const counts = new Map<string, number>();
    for (const id of left) {
      const rule = drafts.peek(id)?.alert?.rule ?? '';
      counts.set(rule, (counts.get(rule) ?? 0) + 1);
    }
    const [name = ''] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [];
    const known = drafts.about(fingerprintOf(COMMON_CAUSE, { rule: name }));
    const next =
      known !== undefined && isOpen(alertOf(known))
        ? alertOf(known).id
        : this.#beginCommon(drafts, name, now);
    for (const id of some) this.#join(drafts, next, id);
    const alert = alertOf(drafts.edit(next).record);
    alert.summary = `${alert.groupSize} alerts of ${name} are left of: ${alertOf(head).summary}`;
  }
}

interface Head {
  record: AlertRecord;
  zone: string;
  startMs: number;
  failing: number;
  agents: number;
  /** It fired in this round. */
  isNew: boolean;
}

const isHead = ({ record }: Head): boolean => alertOf(record).groupedUnder === '';

function* changed(drafts: Drafts): IterableIterator<AlertRecord> {
  for (const { record, removed } of drafts.all()) if (!removed) yield record;
}

const isExplained = ({ metric, scope }: { metric: string; scope: MetricScope }): boolean =>
  scope === MetricScope.FLEET && EXPLAINED.has(metric);

/** One brake under another: that of the namespace under the zone's that set it off, or the zone's under the namespace's. */
function isPartOf(alert: { labels: { [key: string]: string }; summary: string }, head: Head): boolean {
  const zone = alert.labels.zone ?? '';
  if (zone !== '') return head.zone === '';
  return head.zone !== '' && head.failing >= 0.9 * figuresOf(alert.summary).failing;
}

function figuresOf(summary: string): { failing: number; agents: number } {
  const [, failing = '0', agents = '0'] = /: (\d+) of (\d+) agents/.exec(summary) ?? [];
  return { failing: Number(failing), agents: Number(agents) };
}
