import { create } from '@bufbuild/protobuf';
import {
  Agent_Liveness,
  type Report,
  type Verdict,
  VerdictSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { GoAway_Reason } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { durationFromMs, timestampFromMs } from '../../lib/proto-time.ts';
import { type WheelTask, wheelLink } from '../../lib/timing-wheel.ts';
import { ClockOffset } from './clock-offset.ts';
import { observerEvidence, silenceMs } from './observer.ts';
import { Probes } from './probes.ts';
import { ProgressWatch } from './progress.ts';
import { RoundTrips } from './round-trips.ts';
import type { PingSender, SessionContext, SessionOwner } from './session-context.ts';
import { excuses, lateAfterMs, ownSilences, phiOf, suspectDetail, type Waiting } from './suspicion.ts';

export interface SessionOptions {
  context: SessionContext;
  owner: SessionOwner;
  sender: PingSender;
  namespace: string;
  agentId: string;
  uid: string;
  epoch: bigint;
  instanceId: string;
  client: string;
  peer: string;
  tokenHash: Uint8Array;
  /** 0..1: where in the interval this session's pings fall. */
  phase: number;
}

/** Unanswered pings that SUSPECT needs: the one on schedule and two probes after it. */
const SUSPECT_PROBES = 3;
/** So many probes fit into a lease however slow the link is, so that SUSPECT comes before LOST. */
const PROBES_PER_LEASE = 8;
/** A suspect is probed at most this often. */
const SUSPECT_PROBE_MS = 1000;
const EVIDENCE_SAMPLES = 16;

/**
 * One attachment of an agent: paces its pings, measures what comes back and judges its silence. It holds no stream;
 * a late answer is probed again sooner, so that a silent death is seen within an interval plus a few probes, while a
 * steady agent costs one round trip an interval.
 */
export class Session implements WheelTask {
  readonly wheel = wheelLink();
  readonly namespace: string;
  readonly agentId: string;
  readonly uid: string;
  readonly epoch: bigint;
  readonly instanceId: string;
  readonly client: string;
  readonly peer: string;
  readonly tokenHash: Uint8Array;
  readonly attachWallMs: number;
  readonly roundTrips = new RoundTrips();
  readonly probes = new Probes();
  readonly silences = ownSilences();
  readonly progress: ProgressWatch;
  clockOffset: ClockOffset | undefined;
  report: Report | undefined;
  reportWallMs = 0;
  heartbeats = 0;
  liveness: Agent_Liveness = Agent_Liveness.CONNECTED;
  stuck = false;
  ended = false;
  lastHeardMs: number;
  lastHeardWallMs: number;
  readonly #context: SessionContext;
  readonly #owner: SessionOwner;
  readonly #sender: PingSender;
  #nextPingMs: number;
  /** Whether the agent was asked for its whole report. */
  #asked = false;
  /** When the agent is sent on; Infinity: never. */
  readonly #maxAgeMs: number;
  /** From when on it may be, so that a new replica fills. */
  readonly #movableMs: number;
  #toldLeaseMs: number;
  /** The share of an interval between the first and the second ping; 1 from then on. */
  #firstGap: number;

  constructor(options: SessionOptions) {
    const { context } = options;
    const nowMs = context.clock.monoMs();
    this.#context = context;
    this.#owner = options.owner;
    this.#sender = options.sender;
    this.namespace = options.namespace;
    this.agentId = options.agentId;
    this.uid = options.uid;
    this.epoch = options.epoch;
    this.instanceId = options.instanceId;
    this.client = options.client;
    this.peer = options.peer;
    this.tokenHash = options.tokenHash;
    this.attachWallMs = context.clock.wallMs();
    this.lastHeardMs = nowMs;
    this.lastHeardWallMs = this.attachWallMs;
    this.progress = new ProgressWatch(nowMs);
    const { intervalMs, leaseMs } = context.pacing();
    this.#toldLeaseMs = leaseMs;
    // Spread over a fifth of the age, so that those who came together do not leave together.
    const at = (ageMs: number) => (ageMs > 0 ? nowMs + ageMs * (0.9 + 0.2 * options.phase) : Infinity);
    this.#maxAgeMs = at(context.config.maxAgeMs);
    this.#movableMs = at(context.config.rebalanceAfterMs);
    // The first ping goes out soon, so that a round trip is known; the second one spreads agents that came together.
    this.#nextPingMs = nowMs + Math.min(intervalMs, 200) * options.phase;
    this.#firstGap = options.phase;
    context.wheel.schedule(this, this.#nextPingMs);
  }

  /** The lease that the agent was told last. */
  get leaseMs(): number {
    return this.#toldLeaseMs;
  }

  /** Something was heard, of whatever kind. */
  heard(nowMs: number): void {
    this.lastHeardMs = nowMs;
    this.lastHeardWallMs = this.#context.clock.wallMs();
  }

  /**
   * An answer, or (echo 0) an unprompted report.
   * @param heldMs the agent's own delay before it answered; 0 if unknown
   * @param agentWallMs the agent's clock; undefined if it sent none
   */
  heartbeat(echo: number, heldMs: number, agentWallMs: number | undefined, report: Report | undefined): void {
    const context = this.#context;
    const nowMs = context.clock.monoMs();
    this.heard(nowMs);
    this.heartbeats += 1;
    if (report !== undefined) {
      this.report = report;
      this.progress.report(report, nowMs);
      if (report.process !== undefined) this.#owner.processReported(this);
    }
    if (this.report !== undefined) this.reportWallMs = this.lastHeardWallMs;
    const rttMs = this.#answered(echo, heldMs, agentWallMs, nowMs);
    context.measuring?.heard(this, rttMs, nowMs);
  }

  /** The round trip, if the answer gives one. */
  #answered(
    echo: number,
    heldMs: number,
    agentWallMs: number | undefined,
    nowMs: number,
  ): number | undefined {
    const context = this.#context;
    const { sinceMs } = this.probes;
    const sentMs = echo === 0 ? undefined : this.probes.answered(echo);
    if (sentMs === undefined) return undefined;
    this.#learn(this.#waitedMs(sinceMs, nowMs));
    let rttMs: number | undefined;
    // A round trip that spans a stall of our own says nothing about the agent.
    if (context.self.stallMs(sentMs, nowMs) === 0) {
      const elapsedMs = nowMs - sentMs;
      const held = Math.min(heldMs, elapsedMs);
      rttMs = elapsedMs - held;
      this.roundTrips.add(rttMs);
      context.metrics.heartbeat(rttMs);
      if (agentWallMs !== undefined) {
        this.clockOffset ??= new ClockOffset();
        this.clockOffset.add(this.lastHeardWallMs - elapsedMs, this.lastHeardWallMs, agentWallMs, held);
      }
    }
    if (this.probes.outstanding > 0) return rttMs;
    context.wheel.schedule(this, this.#nextPingMs);
    if (this.liveness === Agent_Liveness.SUSPECT) {
      this.#judge(Agent_Liveness.CONNECTED, 'answered', 'it answers again', nowMs);
    }
    return rttMs;
  }

  /** Suspicion now. */
  phi(nowMs: number): number {
    return phiOf(this.roundTrips, this.silences, this.#context.silences, this.#waiting(nowMs));
  }

  #waiting(nowMs: number): Waiting {
    const probes = this.probes.outstanding;
    return { probes, waitedMs: probes === 0 ? 0 : this.#waitedMs(this.probes.sinceMs, nowMs) };
  }

  /** The silence that counts against the agent, milliseconds. */
  silenceMs(nowMs: number): number {
    return silenceMs(this.#context.self, this.lastHeardMs, nowMs);
  }

  /** Nothing could be sent for a while and now it can: a ping that is due goes out at once. */
  senderReady(): void {
    if (this.ended || this.probes.outstanding > 0) return;
    const nowMs = this.#context.clock.monoMs();
    if (this.#nextPingMs <= nowMs) this.due(nowMs);
  }

  /** Called by the wheel: time for a ping, a probe or a verdict. */
  due(nowMs: number): void {
    if (this.ended) return;
    const { config, metrics } = this.#context;
    if (this.#sender.blockedMs(nowMs) >= config.drainTimeoutMs) {
      metrics.sessionCutOff('slow');
      this.#owner.end(this, GoAway_Reason.SLOW, `nothing was read for ${config.drainTimeoutMs} ms`);
      return;
    }
    const moveOn = this.probes.outstanding === 0 ? this.#moveOn(nowMs) : undefined;
    if (moveOn !== undefined) {
      this.#owner.end(this, GoAway_Reason.REBALANCE, moveOn);
      return;
    }
    const silence = this.silenceMs(nowMs);
    // Without the store nobody could attach again: a loss is judged when it is back.
    const overdue = silence >= this.#toldLeaseMs;
    if (overdue && this.#context.self.storeAvailable()) {
      this.#judge(
        Agent_Liveness.LOST,
        'lease',
        `silent for the whole lease of ${this.#toldLeaseMs} ms`,
        nowMs,
      );
      this.#owner.end(this, GoAway_Reason.LOST, 'silent for the whole lease');
      return;
    }
    this.#watchProgress(nowMs);
    if (!this.#sender.ready()) {
      this.#context.wheel.schedule(this, nowMs + Math.min(SUSPECT_PROBE_MS, this.#untilLease(silence)));
      return;
    }
    const unanswered = this.probes.outstanding;
    if (unanswered === 0) {
      this.#ping(nowMs);
      const { intervalMs } = this.#context.pacing();
      this.#nextPingMs += intervalMs * this.#firstGap;
      // By whole intervals, so that sessions which are late together (after a stall) keep their places in the spread.
      const behindMs = nowMs + intervalMs / 10 - this.#nextPingMs;
      if (behindMs > 0) this.#nextPingMs += intervalMs * Math.ceil(behindMs / intervalMs);
      this.#firstGap = 1;
    } else {
      metrics.missedPing();
      if (unanswered >= SUSPECT_PROBES && this.liveness === Agent_Liveness.CONNECTED) {
        const phi = this.phi(nowMs);
        if (phi >= config.suspectPhi) {
          const detail = suspectDetail(phi, config.suspectPhi, this.#waiting(nowMs), this.silences);
          this.#judge(Agent_Liveness.SUSPECT, 'phi', detail, nowMs);
        }
      }
      this.#ping(nowMs);
    }
    const wait = Math.min(lateAfterMs(this.roundTrips), this.#toldLeaseMs / PROBES_PER_LEASE);
    const next = this.liveness === Agent_Liveness.SUSPECT ? Math.max(wait, SUSPECT_PROBE_MS) : wait;
    this.#context.wheel.schedule(this, nowMs + Math.min(next, this.#untilLease(silence)));
  }

  /** Why the agent, which answers, is sent on. */
  #moveOn(nowMs: number): string | undefined {
    if (nowMs >= this.#maxAgeMs) return 'the session reached its maximum age';
    if (nowMs < this.#movableMs || !this.#context.mayMoveOn()) return undefined;
    return 'another replica has room for it';
  }

  /** How long an agent has owed an answer that it could have given and we could have heard. */
  #waitedMs(sinceMs: number, nowMs: number): number {
    const awayMs = this.#sender.awayMs(sinceMs, nowMs);
    return Math.max(0, silenceMs(this.#context.self, sinceMs, nowMs) - awayMs);
  }

  /** An answer ended a silence: so long may this agent, and one of this fleet, be silent and yet live. */
  #learn(waitedMs: number): void {
    const known = excuses(waitedMs, this.#toldLeaseMs) ? waitedMs : 0;
    this.silences.add(known);
    this.#context.silences.add(known);
  }

  #untilLease(silenceMs: number): number {
    return silenceMs < this.#toldLeaseMs ? this.#toldLeaseMs - silenceMs : SUSPECT_PROBE_MS;
  }

  #ping(nowMs: number): void {
    const { leaseMs } = this.#context.pacing();
    const told = Math.abs(leaseMs - this.#toldLeaseMs) > this.#toldLeaseMs / 20 ? leaseMs : undefined;
    const echo = this.probes.sent(nowMs);
    // Asked once: an agent that has nothing to report need not say so at every ping.
    const ask = this.report === undefined && !this.#asked;
    const sent = this.#sender.ping(echo, ask, told);
    if (!sent) return;
    if (ask) this.#asked = true;
    // The new lease holds from when the agent could have heard of it.
    if (told !== undefined) this.#toldLeaseMs = told;
  }

  #watchProgress(nowMs: number): void {
    if (this.report === undefined) return;
    const budgetMs = this.#context.progressBudgetMs(this.namespace, this.agentId, this.progress.activity);
    const since = silenceMs(this.#context.self, this.progress.movedMs, nowMs);
    const stuck = budgetMs !== undefined && since > budgetMs;
    if (stuck === this.stuck) return;
    this.stuck = stuck;
    const activity = this.progress.activity === '' ? 'its work' : `"${this.progress.activity}"`;
    const detail = stuck
      ? `no counter moved in ${activity} for ${Math.round(since)} ms, allowed are ${budgetMs} ms`
      : `its counters move again in ${activity}`;
    this.#owner.progressJudged(this, stuck, detail);
  }

  #judge(liveness: Agent_Liveness, rule: string, detail: string, nowMs: number): void {
    this.liveness = liveness;
    this.#owner.judged(this, liveness, this.verdict(rule, detail, nowMs));
  }

  /** A verdict on this session with what it rests on. */
  verdict(rule: string, detail: string, nowMs: number): Verdict {
    const { clock, replicaId, self, trouble } = this.#context;
    return create(VerdictSchema, {
      time: timestampFromMs(clock.wallMs()),
      rule,
      detail,
      replicaId,
      epoch: this.epoch,
      phi: this.phi(nowMs),
      unansweredProbes: this.probes.outstanding,
      silence: durationFromMs(this.silenceMs(nowMs)),
      sampleMs: this.roundTrips.recent(EVIDENCE_SAMPLES),
      observer: observerEvidence(self, this.lastHeardMs, nowMs, trouble(this.namespace, this.agentId)),
    });
  }
}
