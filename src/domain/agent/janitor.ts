import { create } from '@bufbuild/protobuf';
import {
  Agent_Liveness,
  type Verdict,
  VerdictSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Ids } from '../../lib/ids.ts';
import { durationFromMs, timestampFromMs } from '../../lib/proto-time.ts';
import type { Check } from '../../state/store.ts';
import type { Absence, Absences } from './absences.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import { livenessJudgement } from './judgement.ts';
import { isAttached, livenessWords } from './liveness.ts';
import { observerEvidence, silenceMs } from './observer.ts';
import { agentOf } from './record.ts';
import type { SessionContext } from './session-context.ts';
import type { Sessions } from './sessions.ts';
import type { VerdictWriter } from './verdict-writer.ts';

export interface JanitorOptions {
  context: SessionContext;
  directory: AgentDirectory;
  sessions: Sessions;
  absences: Absences;
  verdicts: VerdictWriter;
  ids: Ids;
  /** Whether another replica with this id is alive, and so looks after its own agents. */
  replicaAlive(replicaId: string): boolean;
  /** The fence of the namespace's lease of care, while this replica holds it. */
  fence(namespace: string): Check | undefined;
}

/**
 * A sweep takes on so many orphans, or this part of them if that is more. Agents whose replica died come back within
 * seconds: most are there before their turn, and the store is not busy with verdicts that are out of date at once.
 */
const ADOPTED_AT_ONCE = 100;
const ADOPTED_SHARE = 8;
/** Nor are those of this replica's earlier life judged before they could be back: its clients pause for a second or two. */
const RETURN_MS = 4000;

/**
 * Looks after agents whose session nobody holds: after a (re)start, or when their replica died. They get the longer
 * recovery grace, spread out, and only then count as lost. Those of its own earlier life a replica takes on itself; those
 * of a replica that is gone, the one that holds their namespace's lease.
 */
export class Janitor {
  readonly #options: JanitorOptions;
  readonly #startMs: number;

  constructor(options: JanitorOptions) {
    this.#options = options;
    this.#startMs = options.context.clock.monoMs();
  }

  /** One round; call it every second or two. */
  sweep(): void {
    const { sessions, context } = this.#options;
    const nowMs = context.clock.monoMs();
    if (sessions.leaving || silenceMs(context.self, this.#startMs, nowMs) < RETURN_MS) return;
    const orphans: KnownAgent[] = [];
    for (const known of this.#options.directory.all()) {
      if (this.#isOrphan(known)) orphans.push(known);
    }
    const most = Math.max(ADOPTED_AT_ONCE, orphans.length / ADOPTED_SHARE);
    for (const known of orphans.slice(0, most)) this.#adopt(known);
  }

  /** An agent did not come back in time. */
  absenceOver(absence: Absence): void {
    const { directory, context } = this.#options;
    const known = directory.get(absence.namespace, absence.agentId);
    if (known === undefined || known.record.sessionEpoch !== absence.epoch) return;
    // A replica that was taken for gone is back, or another one has the lease: they look after it.
    if (!this.#isMine(known)) return;
    const nowMs = context.clock.monoMs();
    const detail = `did not come back within ${Math.round(absence.graceMs)} ms`;
    const verdict = this.#verdict(known, absence.rule, detail, absence.sinceMs, nowMs);
    this.#judge(known, Agent_Liveness.LOST, verdict, absence.blameless === true);
  }

  /** Whether this replica has to look after an agent whose session nobody holds. */
  #isMine({ namespace, record }: KnownAgent): boolean {
    const { context, replicaAlive, fence } = this.#options;
    const owner = record.ownerReplicaId;
    return owner === context.replicaId || (!replicaAlive(owner) && fence(namespace) !== undefined);
  }

  #isOrphan(known: KnownAgent): boolean {
    const { sessions, absences, verdicts } = this.#options;
    const { liveness } = agentOf(known.record);
    if (!isAttached(liveness) && liveness !== Agent_Liveness.DISCONNECTED) return false;
    if (sessions.get(known.namespace, known.id) !== undefined) return false;
    if (sessions.isAttaching(known.namespace, known.id)) return false;
    if (absences.get(known.namespace, known.id) !== undefined) return false;
    if (verdicts.pendingFor(known.namespace, known.id) !== undefined) return false;
    return this.#isMine(known);
  }

  #adopt(known: KnownAgent): void {
    const { absences, context, ids } = this.#options;
    const nowMs = context.clock.monoMs();
    const epoch = known.record.sessionEpoch;
    // Spread, so that a fleet that does not come back is not lost in one moment.
    const graceMs = context.config.recoveryGraceMs * (1 + 0.5 * ids.random());
    absences.begin({
      namespace: known.namespace,
      agentId: known.id,
      epoch,
      sinceMs: nowMs,
      graceMs,
      rule: 'orphaned',
    });
    if (!isAttached(agentOf(known.record).liveness)) return;
    const detail = `replica ${known.record.ownerReplicaId}, which held its session, was restarted or is gone`;
    const verdict = this.#verdict(known, 'orphaned', detail, nowMs, nowMs);
    this.#judge(known, Agent_Liveness.DISCONNECTED, verdict, true);
  }

  #verdict(known: KnownAgent, rule: string, detail: string, sinceMs: number, nowMs: number): Verdict {
    const { context } = this.#options;
    const trouble = context.trouble(known.namespace, known.id);
    return create(VerdictSchema, {
      time: timestampFromMs(context.clock.wallMs()),
      rule,
      detail,
      replicaId: context.replicaId,
      epoch: known.record.sessionEpoch,
      silence: durationFromMs(nowMs - sinceMs),
      observer: observerEvidence(context.self, sinceMs, nowMs, trouble),
    });
  }

  #judge(known: KnownAgent, liveness: Agent_Liveness, verdict: Verdict, blameless: boolean): void {
    const { context, verdicts, fence } = this.#options;
    context.metrics.verdict(livenessWords(liveness).name);
    const judged = { namespace: known.namespace, agentId: known.id, epoch: verdict.epoch };
    const own = known.record.ownerReplicaId === context.replicaId;
    const held = own ? undefined : fence(known.namespace);
    void verdicts.submit({
      ...livenessJudgement(judged, liveness, verdict, undefined),
      blameless,
      ...(held === undefined ? {} : { fence: held }),
    });
  }
}
