import { create } from '@bufbuild/protobuf';
import { Alert_State } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type AlertRecord,
  MonitorRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { durationFromMs } from '../../../lib/proto-time.ts';
import type { Check } from '../../../state/store.ts';
import { alertOf, fingerprintOf, isFiring, isOpen, PROGRESS_KEY } from './alert-record.ts';
import { ALERTS_LIMITED } from './builtin-rules.ts';
import { type Draft, Drafts } from './drafts.ts';
import type { EvaluatorPorts } from './evaluator-ports.ts';
import { EventRules } from './event-rules.ts';
import { EventSource } from './event-source.ts';
import { Grouping } from './grouping.ts';
import { type Lane, MetricRules, type Moment } from './metric-rules.ts';
import { isEventRule, isMetricRule } from './rule.ts';
import { ActiveSilences } from './silencing.ts';
import { newTellings, setTellings, sinksOf } from './telling.ts';
import { fire, fireMsOf, resolve } from './transitions.ts';
import { Upkeep } from './upkeep.ts';

/** Open alerts of one namespace; further ones do not begin. */
export const MAX_OPEN = 10_000;
/** Events that are judged in one commit. */
const EVENTS_AT_A_TIME = 256;
/** Alerts that are stored in one commit. */
const CHUNK = 400;
/** What may have a cause that is seen a moment later is told after so long. */
export const GROUP_WAIT_MS = 400;
/** Progress is stored at least this often while there are events that changed nothing. */
const PROGRESS_MS = 30_000;

/** Judges one namespace, while this replica holds the lease of it. */
export class NamespaceEvaluator {
  readonly #ports: EvaluatorPorts;
  readonly #namespace: string;
  readonly #metrics: MetricRules;
  readonly #events: EventRules;
  readonly #grouping: Grouping;
  readonly #upkeep: Upkeep;
  readonly #source: EventSource;
  #silences: ActiveSilences | undefined;
  /** Nothing is judged before the view has seen what was stored last. */
  #mustSee = 0n;
  #progressMs = 0;
  #hasLimit = false;
  /** Alerts that were too early to be told. */
  readonly #early = new Set<string>();

  constructor(options: EvaluatorPorts & { namespace: string }) {
    const { namespace, view, rules } = options;
    this.#ports = options;
    this.#namespace = namespace;
    const all = [...rules.values()];
    this.#metrics = new MetricRules({
      ...options,
      rules: all.filter(isMetricRule),
      hasRoom: (drafts) => this.#hasRoom(drafts),
    });
    this.#events = new EventRules({
      ...options,
      rules: all.filter(isEventRule),
      hasMembers: (id) => view.members(namespace, id).size > 0,
      hasRoom: (drafts) => this.#hasRoom(drafts),
    });
    this.#grouping = new Grouping({ ...options, members: (id) => view.members(namespace, id) });
    this.#upkeep = new Upkeep({ ...options, forget: (id) => this.#metrics.forget(id) });
    this.#source = new EventSource({ ...options, wants: (type) => this.#events.wants(type) });
  }

  get source(): EventSource {
    return this.#source;
  }

  /** While another replica judges. */
  watch(): void {
    const { storeTime, clock } = this.#ports;
    this.#metrics.watch({ storeMs: storeTime.ms(), monoMs: clock.monoMs() });
  }

  /** Whether there are events to be judged. */
  get hasEvents(): boolean {
    return this.#source.size > 0;
  }

  /** Whether it is to be looked at again soon, although nothing moves. */
  get isUrgent(): boolean {
    return this.#early.size > 0 || this.hasEvents;
  }

  /** Under a new lease: goes on where the last holder was. @throws StoreUnavailableError */
  async begin(fence: Check, inherited: boolean): Promise<void> {
    this.#metrics.begin(this.#ports.clock.monoMs(), inherited ? SETTLE_MS : 0);
    this.#grouping.begin();
    this.#upkeep.begin();
    this.#mustSee = fence.revision;
    const { clock } = this.#ports;
    this.#progressMs = clock.monoMs();
    const seen = await this.#source.begin(this.#ports.view.progress(this.#namespace)?.record, {
      windowMs: this.#events.windowMs,
      fence,
    });
    for (const event of seen) this.#events.recall(event);
  }

  /**
   * Judges what there is. Each commit is refused once another replica has taken over; then "refused".
   * @throws StoreUnavailableError
   */
  async round(fence: Check, lane: Lane, crossed: ReadonlySet<string>): Promise<'done' | 'refused' | 'again'> {
    const { views, view, store } = this.#ports;
    if (views.position(this.#namespace).revision < this.#mustSee) return 'again';
    // A commit whose answer was lost may have been made: what it judged is not judged again.
    const stored = view.progress(this.#namespace)?.record;
    if (stored !== undefined && stored.epoch === store.status().epoch) this.#source.skip(stored.revision);
    while (this.#source.size > 0) {
      const { events, upTo } = await this.#source.take(EVENTS_AT_A_TIME);
      const outcome = await this.#step(fence, (drafts, now) => this.#events.take(events, drafts, now), upTo);
      if (outcome !== 'done') return outcome;
      this.#source.done(upTo);
    }
    const everything = lane === 'all';
    return this.#step(
      fence,
      (drafts, now) => {
        this.#metrics.judge(drafts, lane, now, crossed);
        if (!everything) return;
        this.#upkeep.run(drafts, now);
        this.#grouping.upkeep(drafts, now);
        this.#keepLimit(drafts, now);
      },
      undefined,
      everything,
    );
  }

  async #step(
    fence: Check,
    work: (drafts: Drafts, now: Moment) => void,
    upTo: bigint | undefined,
    everything = false,
  ): Promise<'done' | 'refused' | 'again'> {
    const { storeTime, clock, view, ids } = this.#ports;
    const now = { storeMs: storeTime.ms(), monoMs: clock.monoMs() };
    const namespace = this.#namespace;
    const drafts = new Drafts({ view, namespace, newId: () => ids.uuid() });
    work(drafts, now);
    this.#grouping.group(drafts, now, everything);
    this.#silences = new ActiveSilences(view, now.storeMs);
    if (upTo === undefined) this.#touchUntold(drafts, now, everything);
    const due = clock.monoMs() - this.#progressMs >= PROGRESS_MS && this.#source.advanced;
    if (drafts.size === 0 && !due) return 'done';
    return this.#store(fence, drafts, now, upTo);
  }

  async #store(
    fence: Check,
    drafts: Drafts,
    now: Moment,
    upTo: bigint | undefined,
  ): Promise<'done' | 'refused' | 'again'> {
    const { store, views, view, events } = this.#ports;
    const namespace = this.#namespace;
    let progress = view.progress(namespace)?.revision ?? 0n;
    const chunks = drafts.chunks(CHUNK);
    for (const [index, chunk] of chunks.entries()) {
      const changes = Drafts.changes(chunk, events, (draft) => this.#prepare(draft, now));
      // With the last chunk all that these events led to is stored; until then they would be judged again.
      const isLast = index === chunks.length - 1;
      const old = isLast ? drafts.oldSilences : [];
      const value = this.#progressRecord(isLast ? upTo : undefined, now);
      const outcome = await store.commit({
        namespace,
        checks: [fence, { key: PROGRESS_KEY, revision: progress }, ...changes.checks, ...old],
        puts: [...changes.puts, { key: PROGRESS_KEY, value }],
        deletes: [...changes.deletes, ...old.map(({ key }) => key)],
        appends: changes.appends,
      });
      if (outcome.kind === 'conflict') {
        if (outcome.key === fence.key) return 'refused';
        this.#mustSee = outcome.revision;
        await views.waitFor(namespace, outcome.revision, SEEN_MS).catch(() => {});
        return 'again';
      }
      progress = outcome.revision;
      this.#mustSee = outcome.revision;
    }
    this.#progressMs = now.monoMs;
    this.#source.stored();
    // What comes next is judged by what this changed.
    await views.waitFor(namespace, this.#mustSee, SEEN_MS).catch(() => {});
    return 'done';
  }

  #progressRecord(upTo: bigint | undefined, now: Moment): Uint8Array {
    const { store } = this.#ports;
    return encode(
      MonitorRecordSchema,
      create(MonitorRecordSchema, {
        format: 1,
        epoch: store.status().epoch,
        revision: upTo ?? this.#source.judged,
        timeMs: BigInt(Math.round(now.storeMs)),
      }),
    );
  }

  /** What an alert says beside what was judged. */
  #prepare(draft: Draft, now: Moment): void {
    const { replicaId, observerDelayMs } = this.#ports;
    const alert = alertOf(draft.record);
    alert.replicaId = replicaId;
    alert.observerDelay = durationFromMs(observerDelayMs());
    setTellings(draft.record, this.#audience(draft.record, now));
  }

  /** Alerts that sinks are to hear of although nothing else of them changed: a silence is over, or it was too early. */
  #touchUntold(drafts: Drafts, now: Moment, everything: boolean): void {
    const early = [...this.#early].flatMap((id) => drafts.peek(id) ?? []);
    this.#early.clear();
    for (const record of everything ? [...drafts.open()] : early) {
      if (!isFiring(alertOf(record)) || drafts.has(alertOf(record).id)) continue;
      if (newTellings(record, this.#audience(record, now)).size > 0) drafts.edit(alertOf(record).id);
    }
  }

  #audience(record: AlertRecord, now: Moment): { sinks: readonly string[]; withheld: boolean } {
    const alert = alertOf(record);
    if (alert.state === Alert_State.PENDING) return { sinks: [], withheld: true };
    const { sinks, rules } = this.#ports;
    const firedMs = now.storeMs - fireMsOf(alert);
    const isEarly = firedMs >= 0 && firedMs < GROUP_WAIT_MS && this.#grouping.mayHaveCause(record);
    if (isEarly) this.#early.add(alert.id);
    const withheld = isEarly || alert.groupedUnder !== '' || (this.#silences?.of(alert) ?? []).length > 0;
    return { sinks: sinksOf(alert, rules.get(alert.rule)?.sinks ?? [], sinks), withheld };
  }

  #hasRoom(drafts: Drafts): boolean {
    const room = this.#ports.view.openCount(this.#namespace) + drafts.added < MAX_OPEN;
    if (!room) this.#hasLimit = true;
    return room;
  }

  /** That alerts are left out is an alert itself. */
  #keepLimit(drafts: Drafts, now: Moment): void {
    const rule = this.#ports.rules.get(ALERTS_LIMITED);
    if (rule === undefined) return;
    const about = drafts.about(fingerprintOf(ALERTS_LIMITED, {}));
    const open = about !== undefined && isOpen(alertOf(about));
    if (this.#hasLimit && !open) {
      const draft = drafts.begin(rule, {}, now.storeMs);
      alertOf(draft.record).summary =
        `there are ${MAX_OPEN} open alerts in this namespace: further ones do not begin`;
      fire(draft, about, now.storeMs);
    } else if (open && this.#ports.view.openCount(this.#namespace) < 0.9 * MAX_OPEN) {
      resolve(drafts.edit(alertOf(about).id), 'cleared', now.storeMs);
    }
    this.#hasLimit = false;
  }
}

/** How long the figures of a replica that took over may lack what others measure. */
const SETTLE_MS = 3000;
/** How long the view may take to show what was committed. */
const SEEN_MS = 2000;
