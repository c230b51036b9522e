import { create } from '@bufbuild/protobuf';
import {
  Agent_Liveness,
  type Verdict,
  VerdictSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Ids } from '../../lib/ids.ts';
import { durationFromMs, msFromDuration, msFromTimestamp, timestampFromMs } from '../../lib/proto-time.ts';
import type { Store } from '../../state/store.ts';
import type { EventWriter } from '../monitoring/events.ts';
import type { Absence, Absences } from './absences.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import { livenessJudgement } from './judgement.ts';
import { isAttached, livenessWords } from './liveness.ts';
import { observerEvidence } from './observer.ts';
import { agentKey, agentOf } from './record.ts';
import type { SessionContext } from './session-context.ts';
import type { Sessions } from './sessions.ts';
import type { VerdictWriter } from './verdict-writer.ts';

export interface JanitorOptions {
  context: SessionContext;
  store: Store;
  directory: AgentDirectory;
  sessions: Sessions;
  absences: Absences;
  verdicts: VerdictWriter;
  events: EventWriter;
  ids: Ids;
  /** Whether another replica with this id is alive, and so looks after its own agents. */
  replicaAlive(replicaId: string): boolean;
}

/**
 * Looks after agents whose session nobody holds: after a (re)start, or when their replica died. They get the longer
 * recovery grace, spread out, and only then count as lost. Also forgets agents whose forget_after has passed.
 */
export class Janitor {
  readonly #options: JanitorOptions;

  constructor(options: JanitorOptions) {
    this.#options = options;
  }

  /** One round; call it every few seconds. */
  async sweep(): Promise<void> {
    const storeMs = await this.#options.store.now();
    const forgotten: KnownAgent[] = [];
    for (const known of this.#options.directory.all()) {
      if (this.#isOrphan(known)) this.#adopt(known);
      else if (isForgotten(known, storeMs)) forgotten.push(known);
    }
    for (const known of forgotten) await this.#forget(known);
  }

  /** An agent did not come back in time. */
  absenceOver(absence: Absence): void {
    const { directory, context, replicaAlive } = this.#options;
    const known = directory.get(absence.namespace, absence.agentId);
    if (known === undefined || known.record.sessionEpoch !== absence.epoch) return;
    // A replica that was taken for gone is back, and looks after its agents itself.
    const owner = known.record.ownerReplicaId;
    if (owner !== context.replicaId && replicaAlive(owner)) return;
    const nowMs = context.clock.monoMs();
    const detail = `did not come back within ${Math.round(absence.graceMs)} ms`;
    this.#judge(
      known,
      Agent_Liveness.LOST,
      this.#verdict(absence.rule, detail, absence.sinceMs, nowMs, absence.epoch),
    );
  }

  #isOrphan(known: KnownAgent): boolean {
    const { sessions, absences, context, replicaAlive, verdicts } = this.#options;
    const { liveness } = agentOf(known.record);
    if (!isAttached(liveness) && liveness !== Agent_Liveness.DISCONNECTED) return false;
    if (sessions.get(known.namespace, known.id) !== undefined) return false;
    if (sessions.isAttaching(known.namespace, known.id)) return false;
    if (absences.get(known.namespace, known.id) !== undefined) return false;
    if (verdicts.pendingFor(known.namespace, known.id) !== undefined) return false;
    const owner = known.record.ownerReplicaId;
    return owner === context.replicaId || !replicaAlive(owner);
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
    this.#judge(known, Agent_Liveness.DISCONNECTED, this.#verdict('orphaned', detail, nowMs, nowMs, epoch));
  }

  #verdict(rule: string, detail: string, sinceMs: number, nowMs: number, epoch: bigint): Verdict {
    const { context } = this.#options;
    return create(VerdictSchema, {
      time: timestampFromMs(context.clock.wallMs()),
      rule,
      detail,
      replicaId: context.replicaId,
      epoch,
      silence: durationFromMs(nowMs - sinceMs),
      observer: observerEvidence(context.self, sinceMs, nowMs, context.shareInTrouble()),
    });
  }

  #judge(known: KnownAgent, liveness: Agent_Liveness, verdict: Verdict): void {
    const { context, verdicts } = this.#options;
    context.metrics.verdict(livenessWords(liveness).name);
    const judged = { namespace: known.namespace, agentId: known.id, epoch: verdict.epoch };
    void verdicts.submit(livenessJudgement(judged, liveness, verdict, undefined));
  }

  async #forget(known: KnownAgent): Promise<void> {
    const { store, events } = this.#options;
    await store.commit({
      namespace: known.namespace,
      checks: [{ key: agentKey(known.id), revision: known.revision }],
      deletes: [agentKey(known.id)],
      appends: [
        events.append({
          type: 'agent.forgotten',
          severity: Event_Severity.INFO,
          message: `${known.id} was deregistered: its forget_after has passed since it was ${livenessWords(agentOf(known.record).liveness).words}`,
          actor: 'rule:forget_after',
          agentId: known.id,
        }),
      ],
    });
  }
}

function isForgotten(known: KnownAgent, storeMs: number): boolean {
  const { spec, liveness } = agentOf(known.record);
  if (liveness !== Agent_Liveness.LOST && liveness !== Agent_Liveness.LEFT) return false;
  if (spec?.forgetAfter === undefined || known.record.goneTime === undefined) return false;
  return msFromTimestamp(known.record.goneTime) + msFromDuration(spec.forgetAfter) <= storeMs;
}
