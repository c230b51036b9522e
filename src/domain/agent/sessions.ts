import { Agent_Liveness, type Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { GoAway_Reason, type Hello } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { AgentRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../lib/errors.ts';
import type { Ids } from '../../lib/ids.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Store } from '../../state/store.ts';
import type { EventWriter } from '../monitoring/events.ts';
import type { Absences } from './absences.ts';
import { decideAttach } from './attach.ts';
import type { AgentDirectory, DirectoryListener, KnownAgent } from './directory.ts';
import { agentNotFound, contention, notResponsible } from './errors.ts';
import { isAttached, livenessWords } from './liveness.ts';
import { agentKey, agentOf, decodeRecord, encodeRecord } from './record.ts';
import { type PingSender, Session, type SessionContext, type SessionOwner } from './session.ts';
import { knowsToken, type TokenClaim } from './token.ts';
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
  directory: AgentDirectory;
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
}

/** A session with its stream and the revision at which it was attached. */
interface Held {
  session: Session;
  line: SessionLine;
  revision: bigint;
}

type DirectoryChange = Parameters<DirectoryListener['changed']>;

const ATTEMPTS = 8;

/** The sessions that this replica holds. */
export class Sessions implements SessionOwner {
  readonly #options: SessionsOptions;
  readonly #byAgent = new Map<string, Held>();
  readonly #suspects = new Set<Session>();
  /** Attachments under way, with the latest news of their agent: what came before the session began holds for it too. */
  readonly #attaching = new Map<string, { count: number; news: DirectoryChange | undefined }>();
  #leaving = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
    options.directory.listen({ changed: (...change) => this.#heard(change) });
  }

  get size(): number {
    return this.#byAgent.size;
  }

  /** Share of the sessions that are SUSPECT, 0..1. */
  get shareInTrouble(): number {
    return this.#byAgent.size === 0 ? 0 : this.#suspects.size / this.#byAgent.size;
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
  async attach(claim: TokenClaim, tokenHash: Uint8Array, hello: Hello, line: SessionLine): Promise<Session> {
    const key = `${claim.namespace}/${claim.agentId}`;
    this.#admit(key);
    const underway = this.#attaching.get(key) ?? { count: 0, news: undefined };
    this.#attaching.set(key, underway);
    underway.count += 1;
    try {
      return await this.#attach(claim, tokenHash, hello, line);
    } finally {
      underway.count -= 1;
      if (underway.count === 0) this.#attaching.delete(key);
    }
  }

  async #attach(claim: TokenClaim, tokenHash: Uint8Array, hello: Hello, line: SessionLine): Promise<Session> {
    const { context, store, directory, events } = this.#options;
    let known = directory.get(claim.namespace, claim.agentId);
    // A record that this replica has not heard of yet, or whose token is newer than what it knows.
    if (known === undefined || !knowsToken(known.record.tokenHashes, tokenHash))
      known = await this.#load(claim);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      if (known === undefined) throw agentNotFound(claim.namespace, claim.agentId);
      if (!this.#options.responsibleFor(known)) throw notResponsible(claim.agentId);
      const decided = decideAttach({
        record: known.record,
        tokenHash,
        hello,
        peer: line.peer,
        replicaId: context.replicaId,
        wallMs: context.clock.wallMs(),
        storeEpoch: store.status().epoch,
      });
      const outcome = await store.commit({
        namespace: claim.namespace,
        checks: [{ key: agentKey(claim.agentId), revision: known.revision }],
        puts: [{ key: agentKey(claim.agentId), value: encodeRecord(decided.record) }],
        appends: decided.events.map((event) => events.append(event)),
      });
      if (outcome.kind === 'committed') {
        return this.#begin(claim, decided.record, outcome.revision, tokenHash, hello, line);
      }
      known = await this.#load(claim);
    }
    throw contention();
  }

  /** The call behind a session is over. */
  lost(session: Session, detail: string): void {
    if (!this.#remove(session, 'closed')) return;
    const { context, absences } = this.#options;
    if (this.#leaving) return;
    const nowMs = context.clock.monoMs();
    const { leaseMs, agentId, namespace, epoch } = session;
    // Never before the lease: until then the agent may hold itself for the owner of its work.
    const graceMs = Math.max(context.config.reconnectGraceMs, leaseMs - session.silenceMs(nowMs));
    absences.begin({ namespace, agentId, epoch, sinceMs: nowMs, graceMs, rule: 'reconnect_grace' });
    const verdict = session.verdict('stream_closed', detail, nowMs);
    void this.#submit(session, Agent_Liveness.DISCONNECTED, verdict);
  }

  /** The agent said goodbye; resolves when that is stored, or with false when this replica gave up storing it. */
  async left(session: Session, reason: string): Promise<boolean> {
    if (!this.#remove(session, 'left')) return true;
    const { context } = this.#options;
    const detail = reason === '' ? 'said goodbye' : `said goodbye: ${reason}`;
    const verdict = session.verdict('left', detail, context.clock.monoMs());
    return this.#submit(session, Agent_Liveness.LEFT, verdict);
  }

  judged(session: Session, liveness: Agent_Liveness, verdict: Verdict): void {
    if (liveness === Agent_Liveness.SUSPECT) this.#suspects.add(session);
    else this.#suspects.delete(session);
    void this.#submit(session, liveness, verdict);
  }

  progressJudged(session: Session, stuck: boolean, detail: string): void {
    const verdict = session.verdict('progress', detail, this.#options.context.clock.monoMs());
    void this.#options.verdicts.submit({
      namespace: session.namespace,
      agentId: session.agentId,
      epoch: session.epoch,
      verdict,
      event: {
        type: stuck ? 'agent.stuck' : 'agent.progressing',
        severity: stuck ? Event_Severity.WARNING : Event_Severity.INFO,
        message: `${session.agentId}: ${detail}`,
        actor: 'rule:progress',
        agentId: session.agentId,
        verdict,
      },
    });
  }

  end(session: Session, reason: GoAway_Reason, detail: string): void {
    const line = this.#byAgent.get(`${session.namespace}/${session.agentId}`)?.line;
    if (line === undefined || session.ended) return;
    // LOST was judged already; anything else that ends a session leaves the agent DISCONNECTED.
    if (reason === GoAway_Reason.LOST) this.#remove(session, 'lost');
    else this.lost(session, detail);
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
    if (this.#leaving) {
      throw new DomainError({
        reason: ErrorReason.SHUTTING_DOWN,
        message: 'this replica is leaving',
        retryAfterMs: 1000,
      });
    }
    // Attachments under way count; one that will supersede a session of its own takes no place.
    const held = this.#byAgent.size + this.#attaching.size;
    if (held >= this.#options.maxSessions && !this.#byAgent.has(key)) {
      throw new DomainError({
        reason: ErrorReason.LIMIT_REACHED,
        message: `this replica holds its maximum of ${this.#options.maxSessions} sessions`,
        retryAfterMs: 5000,
      });
    }
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
    this.#byAgent.set(key, { session, line, revision });
    context.metrics.sessionOpened();
    const news = this.#attaching.get(key)?.news;
    if (news !== undefined) this.#directoryChanged(...news);
    log.debug({ agent: key, epoch: `${epoch}`, peer: line.peer }, 'agent attached');
    return session;
  }

  #remove(session: Session, reason: string): boolean {
    if (session.ended) return false;
    session.ended = true;
    const { context, log } = this.#options;
    context.wheel.cancel(session);
    this.#suspects.delete(session);
    const key = `${session.namespace}/${session.agentId}`;
    if (this.#byAgent.get(key)?.session === session) this.#byAgent.delete(key);
    context.metrics.sessionClosed(reason);
    this.#options.onEnded(session);
    log.debug({ agent: key, epoch: `${session.epoch}`, reason }, 'session ended');
    return true;
  }

  #submit(session: Session, liveness: Agent_Liveness, verdict: Verdict): Promise<boolean> {
    const known = livenessWords(liveness);
    this.#options.context.metrics.verdict(known.name);
    return this.#options.verdicts.submit({
      namespace: session.namespace,
      agentId: session.agentId,
      epoch: session.epoch,
      liveness,
      verdict,
      event: {
        type: `agent.${known.name}`,
        severity: known.severity,
        message: `${session.agentId} is ${known.words}: ${verdict.detail}`,
        actor: `rule:${verdict.rule}`,
        agentId: session.agentId,
        verdict,
        attributes: { epoch: `${session.epoch}`, peer: session.peer },
      },
    });
  }

  #heard(change: DirectoryChange): void {
    const agent = change[1] ?? change[0];
    const underway = agent && this.#attaching.get(`${agent.namespace}/${agent.id}`);
    if (underway !== undefined) underway.news = change;
    this.#directoryChanged(...change);
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
    if (revision < held.revision) return;
    const { session, line } = held;
    if (after === undefined || agentOf(after.record).uid !== session.uid) {
      this.#remove(session, 'revoked');
      line.goAway(GoAway_Reason.REVOKED, 'the agent was deregistered', undefined);
    } else if (after.record.sessionEpoch > session.epoch) {
      this.#remove(session, 'superseded');
      line.goAway(GoAway_Reason.SUPERSEDED, `superseded by a session from ${after.record.peer}`, undefined);
    } else if (!knowsToken(after.record.tokenHashes, session.tokenHash)) {
      this.#remove(session, 'superseded');
      line.goAway(GoAway_Reason.SUPERSEDED, 'the agent was taken over by a new registration', undefined);
    } else if (after.record.sessionEpoch === session.epoch && !isAttached(agentOf(after.record).liveness)) {
      // Our own verdicts of that kind come after the session's end: another replica took this one for gone.
      const by = agentOf(after.record).verdict?.replicaId ?? '';
      const detail = `its session is held here, although replica ${by} judged otherwise`;
      const verdict = session.verdict('held', detail, this.#options.context.clock.monoMs());
      void this.#submit(session, session.liveness, verdict);
    }
  }

  async #load(claim: TokenClaim): Promise<KnownAgent | undefined> {
    const entry = await this.#options.store.get(claim.namespace, agentKey(claim.agentId));
    if (entry === undefined) return undefined;
    return {
      namespace: claim.namespace,
      id: claim.agentId,
      record: decodeRecord(entry.value),
      revision: entry.revision,
    };
  }
}

function superseded(): DomainError {
  return new DomainError({
    reason: ErrorReason.SESSION_SUPERSEDED,
    message: 'a newer session of this agent has attached meanwhile',
  });
}
