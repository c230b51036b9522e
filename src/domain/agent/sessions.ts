import { Agent_Liveness, type Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { GoAway_Reason, type Hello } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { AgentRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Ids } from '../../lib/ids.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Store } from '../../state/store.ts';
import type { Mailboxes } from '../coordination/mailboxes.ts';
import type { EventWriter } from '../monitoring/events.ts';
import type { Absences } from './absences.ts';
import { commitAttach } from './commit-attach.ts';
import type { AgentDirectory, DirectoryListener, KnownAgent } from './directory.ts';
import { leavingReplica, superseded, tooManySessions } from './errors.ts';
import { fateOf } from './fate.ts';
import { livenessJudgement, progressJudgement } from './judgement.ts';
import { livenessWords } from './liveness.ts';
import { observerEvidence } from './observer.ts';
import { agentOf } from './record.ts';
import { restoreAttachment } from './restore.ts';
import { Session } from './session.ts';
import type { PingSender, SessionContext, SessionOwner } from './session-context.ts';
import type { TokenClaim } from './token.ts';
import type { VerdictWriter } from './verdict-writer.ts';

/** The stream (or poll) behind a session, as its registry needs it. */
export interface SessionLine extends PingSender {
  readonly peer: string;
  /** Says goaway, then ends the call. `reconnectAfterMs` undefined: the agent shall not come back. */
  goAway(reason: GoAway_Reason, detail: string, reconnectAfterMs: number | undefined): void;
}

export interface SessionsOptions {
  context: SessionContext;
  store: Store;
  /** The store's clock, as far as is known without asking, milliseconds. */
  storeMs(): number;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  verdicts: VerdictWriter;
  absences: Absences;
  events: EventWriter;
  ids: Ids;
  log: Logger;
  maxSessions: number;
  /** Whether this replica looks after the agent (the configured relationships). */
  responsibleFor(known: KnownAgent): boolean;
  /** A session is over; its last reading can be kept. */
  onEnded(session: Session): void;
  /** A supervisor has reported on its process. */
  onProcess(session: Session): void;
}

/** A session with its stream and the revision at which it was attached. */
interface Held {
  session: Session;
  line: SessionLine;
  revision: bigint;
  /** The store lost this attachment and is being told of it again; what it says of the agent meanwhile is old. */
  restoring: boolean;
  /** The latest news meanwhile: what comes after that telling holds. */
  news?: DirectoryChange;
}

type DirectoryChange = Parameters<DirectoryListener['changed']>;

/** The sessions that this replica holds. */
export class Sessions implements SessionOwner {
  readonly #options: SessionsOptions;
  readonly #byAgent = new Map<string, Held>();
  /** Attachments under way, with the latest news of their agent: what came before the session began holds for it too. */
  readonly #attaching = new Map<string, { count: number; news: DirectoryChange | undefined }>();
  #leaving = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
    options.directory.listen({
      changed: (...change) => this.#heard(change),
      storeReplaced: (before, now) => this.#storeReplaced(before, now),
    });
  }

  get size(): number {
    return this.#byAgent.size;
  }

  /** Agents are being sent away: that they have no session here any more means nothing. */
  get leaving(): boolean {
    return this.#leaving;
  }

  get(namespace: string, agentId: string): Session | undefined {
    return this.#byAgent.get(`${namespace}/${agentId}`)?.session;
  }

  /** An attachment is under way: the store may have it already. */
  isAttaching(namespace: string, agentId: string): boolean {
    return this.#attaching.has(`${namespace}/${agentId}`);
  }

  all(): IterableIterator<Held> {
    return this.#byAgent.values();
  }

  /**
   * Attaches an agent: stores the higher epoch, supersedes an older session, starts the pings.
   * @throws DomainError AGENT_NOT_FOUND, TOKEN_INVALID, AGENT_STOPPED, NOT_RESPONSIBLE, LIMIT_REACHED, CONTENTION,
   * SHUTTING_DOWN; StoreUnavailableError
   */
  async attach(
    claim: TokenClaim,
    tokenHash: Uint8Array,
    hello: Hello,
    line: SessionLine,
  ): Promise<{ session: Session; revision: bigint }> {
    const key = `${claim.namespace}/${claim.agentId}`;
    this.#admit(key);
    const underway = this.#attaching.get(key) ?? { count: 0, news: undefined };
    this.#attaching.set(key, underway);
    underway.count += 1;
    try {
      const { context, store, directory, mailboxes, events, responsibleFor } = this.#options;
      const storeMs = () => this.#options.storeMs();
      const wallMs = () => context.clock.wallMs();
      const { replicaId } = context;
      const observer = (namespace: string, agentId: string) => {
        const nowMs = context.clock.monoMs();
        return observerEvidence(context.self, nowMs, nowMs, context.trouble(namespace, agentId));
      };
      const options = {
        store,
        directory,
        mailboxes,
        events,
        responsibleFor,
        replicaId,
        wallMs,
        storeMs,
        observer,
      };
      const { record, revision } = await commitAttach(options, claim, tokenHash, hello, line.peer);
      return { session: this.#begin(claim, record, revision, tokenHash, hello, line), revision };
    } finally {
      underway.count -= 1;
      if (underway.count === 0) this.#attaching.delete(key);
    }
  }

  /** The call behind a session is over. @param blameless for a reason that is ours */
  lost(session: Session, detail: string, blameless = false): void {
    if (!this.#remove(session, 'closed') || this.#leaving) return;
    this.#await(session, blameless);
    const verdict = session.verdict('stream_closed', detail, this.#options.context.clock.monoMs());
    void this.#submit(session, Agent_Liveness.DISCONNECTED, verdict, blameless);
  }

  /**
   * The agent said goodbye; resolves when that is stored, or with false when this replica gave up storing it.
   * @param storing what it said before and is being stored: that comes first, and none of it rejects
   */
  async left(session: Session, reason: string, storing: Iterable<Promise<void>> = []): Promise<boolean> {
    if (!this.#remove(session, 'left')) return true;
    const { context } = this.#options;
    const detail = reason === '' ? 'said goodbye' : `said goodbye: ${reason}`;
    const verdict = session.verdict('left', detail, context.clock.monoMs());
    await Promise.all(storing);
    return this.#submit(session, Agent_Liveness.LEFT, verdict);
  }

  judged(session: Session, liveness: Agent_Liveness, verdict: Verdict): void {
    void this.#submit(session, liveness, verdict);
  }

  progressJudged(session: Session, stuck: boolean, detail: string): void {
    const verdict = session.verdict('progress', detail, this.#options.context.clock.monoMs());
    void this.#options.verdicts.submit(progressJudgement(session, stuck, verdict));
  }

  processReported(session: Session): void {
    this.#options.onProcess(session);
  }

  end(session: Session, reason: GoAway_Reason, detail: string): void {
    const line = this.#byAgent.get(`${session.namespace}/${session.agentId}`)?.line;
    if (line === undefined || session.ended) return;
    if (reason === GoAway_Reason.LOST) {
      this.#remove(session, 'lost');
    } else if (reason === GoAway_Reason.REBALANCE) {
      // Asked to move, it will be back in a moment: no verdict, unless it does not come.
      this.#remove(session, 'rebalance');
      this.#await(session, true);
    } else {
      this.lost(session, detail);
    }
    line.goAway(reason, detail, 0);
  }

  /** Sends every agent away, spread evenly over `spreadMs`; new ones are refused. */
  async leave(spreadMs: number): Promise<void> {
    this.#leaving = true;
    const sessions = [...this.#byAgent.values()];
    const startedMs = this.#options.context.clock.monoMs();
    for (let i = 0; i < sessions.length; i += 1) {
      const dueMs = startedMs + (spreadMs * i) / sessions.length;
      const waitMs = dueMs - this.#options.context.clock.monoMs();
      if (waitMs > 5) await new Promise((resolve) => setTimeout(resolve, waitMs));
      const entry = sessions[i];
      if (entry === undefined || entry.session.ended) continue;
      this.#remove(entry.session, 'shutdown');
      entry.line.goAway(
        GoAway_Reason.SHUTDOWN,
        'this replica is leaving',
        500 + 1000 * this.#options.ids.random(),
      );
    }
  }

  #admit(key: string): void {
    if (this.#leaving) throw leavingReplica();
    // Attachments under way count; one that will supersede a session of its own takes no place.
    const held = this.#byAgent.size + this.#attaching.size;
    const { maxSessions } = this.#options;
    if (held >= maxSessions && !this.#byAgent.has(key)) throw tooManySessions(maxSessions);
  }

  #begin(
    claim: TokenClaim,
    record: AgentRecord,
    revision: bigint,
    tokenHash: Uint8Array,
    hello: Hello,
    line: SessionLine,
  ): Session {
    const { context, absences, ids, log } = this.#options;
    const key = `${claim.namespace}/${claim.agentId}`;
    const epoch = record.sessionEpoch;
    const older = this.#byAgent.get(key);
    if (older !== undefined && older.session.epoch > epoch) throw superseded();
    if (older !== undefined) {
      this.#remove(older.session, 'superseded');
      older.line.goAway(GoAway_Reason.SUPERSEDED, `superseded by a session from ${line.peer}`, undefined);
    }
    absences.end(claim.namespace, claim.agentId);
    const session = new Session({
      context,
      owner: this,
      sender: line,
      namespace: claim.namespace,
      agentId: claim.agentId,
      uid: agentOf(record).uid,
      epoch,
      tokenHash,
      instanceId: hello.instanceId,
      client: hello.client,
      peer: line.peer,
      phase: ids.random(),
    });
    if (hello.report !== undefined) session.heartbeat(0, 0, undefined, hello.report);
    this.#byAgent.set(key, { session, line, revision, restoring: false });
    context.metrics.sessionOpened();
    const news = this.#attaching.get(key)?.news;
    if (news !== undefined) this.#directoryChanged(...news);
    log.debug({ agent: key, epoch: `${epoch}`, peer: line.peer }, 'agent attached');
    return session;
  }

  /** The agent may come back, within the grace and never judged before its lease: until then its work is its own. */
  #await(session: Session, blameless = false): void {
    const { context, absences } = this.#options;
    const { namespace, agentId, epoch, leaseMs } = session;
    const nowMs = context.clock.monoMs();
    const graceMs = Math.max(context.config.reconnectGraceMs, leaseMs - session.silenceMs(nowMs));
    absences.begin({
      namespace,
      agentId,
      epoch,
      sinceMs: nowMs,
      graceMs,
      rule: 'reconnect_grace',
      blameless,
    });
  }

  #remove(session: Session, reason: string): boolean {
    if (session.ended) return false;
    session.ended = true;
    const { context, log } = this.#options;
    context.wheel.cancel(session);
    const key = `${session.namespace}/${session.agentId}`;
    if (this.#byAgent.get(key)?.session === session) this.#byAgent.delete(key);
    context.metrics.sessionClosed(reason);
    this.#options.onEnded(session);
    log.debug({ agent: key, epoch: `${session.epoch}`, reason }, 'session ended');
    return true;
  }

  #submit(session: Session, liveness: Agent_Liveness, verdict: Verdict, blameless = false): Promise<boolean> {
    this.#options.context.metrics.verdict(livenessWords(liveness).name);
    const judgement = livenessJudgement(session, liveness, verdict, session.peer);
    return this.#options.verdicts.submit({ ...judgement, blameless });
  }

  #heard(change: DirectoryChange): void {
    const agent = change[1] ?? change[0];
    const underway = agent && this.#attaching.get(`${agent.namespace}/${agent.id}`);
    if (underway !== undefined) underway.news = change;
    this.#directoryChanged(...change);
  }

  #storeReplaced(before: ReadonlyMap<string, KnownAgent>, now: ReadonlyMap<string, KnownAgent>): void {
    for (const [id, known] of before) {
      const held = this.#byAgent.get(`${known.namespace}/${id}`);
      if (held === undefined) continue;
      // Revisions of another epoch say nothing about those of this one.
      held.revision = 0n;
      const found = now.get(id);
      if (found !== undefined && found.record.sessionEpoch >= held.session.epoch) continue;
      held.restoring = true;
      delete held.news;
      void this.#restore(held, known, found);
    }
  }

  async #restore(held: Held, known: KnownAgent, found: KnownAgent | undefined): Promise<void> {
    const { store, events, context, log } = this.#options;
    const restored = await restoreAttachment(
      { store, events, replicaId: context.replicaId },
      held.session,
      known,
      found,
    ).catch((error: unknown) => {
      log.warn(
        { agent: known.id, err: error },
        'a session could not be restored to the store; its agent attaches anew',
      );
      return undefined;
    });
    held.restoring = false;
    const { news } = held;
    delete held.news;
    if (restored === undefined) {
      this.end(held.session, GoAway_Reason.REBALANCE, 'the store was replaced; attach again');
    } else {
      held.revision = restored;
      if (news !== undefined) this.#directoryChanged(...news);
    }
  }

  #directoryChanged(before: KnownAgent | undefined, after: KnownAgent | undefined, revision: bigint): void {
    const agent = after ?? before;
    if (agent === undefined) return;
    const held = this.#byAgent.get(`${agent.namespace}/${agent.id}`);
    if (held === undefined) {
      if (after === undefined) this.#options.absences.end(agent.namespace, agent.id);
      return;
    }
    // News from before the attachment (this replica lags behind the store) says nothing about it.
    if (held.restoring) held.news = [before, after, revision];
    if (held.restoring || revision < held.revision) return;
    const { session, line } = held;
    const fate = fateOf(session, after);
    if (fate?.kind === 'end') {
      this.#remove(session, fate.cause);
      line.goAway(fate.reason, fate.detail, undefined);
      if (fate.cause === 'stopped') {
        const verdict = session.verdict('stopped', fate.detail, this.#options.context.clock.monoMs());
        void this.#submit(session, Agent_Liveness.LEFT, verdict);
      }
    } else if (fate?.kind === 'reassert') {
      const waiting = this.#options.verdicts.pendingFor(session.namespace, session.agentId);
      // It is being told already.
      if (waiting?.epoch === session.epoch && waiting.verdict.rule === 'held') return;
      const verdict = session.verdict('held', fate.detail, this.#options.context.clock.monoMs());
      void this.#submit(session, session.liveness, verdict);
    }
  }
}
