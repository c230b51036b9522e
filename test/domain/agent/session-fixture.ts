import type { Agent_Liveness, Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { GoAway_Reason } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { SessionConfig } from '../../../src/config/config.ts';
import type { SelfWatch } from '../../../src/domain/agent/observer.ts';
import { pacingFor } from '../../../src/domain/agent/pacing.ts';
import { Session } from '../../../src/domain/agent/session.ts';
import type {
  PingSender,
  SessionContext,
  SessionMetrics,
} from '../../../src/domain/agent/session-context.ts';
import { fleetSilences } from '../../../src/domain/agent/suspicion.ts';
import { TimingWheel } from '../../../src/lib/timing-wheel.ts';
import { FakeClock } from '../../support/fake-clock.ts';

export const TICK_MS = 20;

export const sessionConfig: SessionConfig = {
  pingIntervalMs: 5_000,
  maxPingsPerSecond: 2_000,
  leaseMs: 30_000,
  reconnectGraceMs: 30_000,
  recoveryGraceMs: 60_000,
  suspectPhi: 5,
  outboundWindowBytes: 256 << 10,
  drainTimeoutMs: 10_000,
  flushIntervalMs: 5_000,
  progressBudgetMs: 0,
  maxAgeMs: 0,
  rebalanceAfterMs: 0,
};

/** An observer whose stalls and whose store a test decides on. */
export class FakeSelf implements SelfWatch {
  readonly stalls: { fromMs: number; toMs: number }[] = [];
  storeIsAvailable = true;

  stallMs(fromMs: number, toMs: number): number {
    let total = 0;
    for (const stall of this.stalls) {
      total += Math.max(0, Math.min(stall.toMs, toMs) - Math.max(stall.fromMs, fromMs));
    }
    return total;
  }

  eventLoopDelayMs(): number {
    return 0;
  }

  storeAvailable(): boolean {
    return this.storeIsAvailable;
  }
}

export class CountingMetrics implements SessionMetrics {
  taskAssigned(): void {}
  taskEnded(): void {}
  rtts = 0;
  missed = 0;
  opened = 0;
  readonly closed: string[] = [];
  readonly cutOff: string[] = [];
  readonly verdicts: string[] = [];
  readonly deliveries: string[] = [];
  readonly messages = new Map<string, number>();

  heartbeat(): void {
    this.rtts += 1;
  }
  missedPing(): void {
    this.missed += 1;
  }
  sessionOpened(): void {
    this.opened += 1;
  }
  sessionClosed(reason: string): void {
    this.closed.push(reason);
  }
  sessionCutOff(reason: string): void {
    this.cutOff.push(reason);
  }
  delivery(outcome: string): void {
    this.deliveries.push(outcome);
  }
  message(outcome: string, count: number): void {
    this.messages.set(outcome, (this.messages.get(outcome) ?? 0) + count);
  }

  verdict(liveness: string): void {
    this.verdicts.push(liveness);
  }
}

export interface Judged {
  atMs: number;
  agentId: string;
  liveness: Agent_Liveness;
  verdict: Verdict;
}

/** How a simulated agent answers: the delay of the answer to a ping; undefined: never. */
export type Delay = (nowMs: number) => number | undefined;

interface Answer {
  atMs: number;
  session: Session;
  echo: number;
}

interface Line extends PingSender {
  isReady: boolean;
  blockedSinceMs: number | undefined;
}

/** Sessions with simulated agents on a fake clock: no store, no streams, exact times. */
export class Simulation {
  readonly clock = new FakeClock();
  readonly self = new FakeSelf();
  readonly metrics = new CountingMetrics();
  readonly wheel: TimingWheel;
  readonly context: SessionContext;
  readonly judged: Judged[] = [];
  readonly ended: { atMs: number; agentId: string; reason: GoAway_Reason }[] = [];
  readonly progress: { atMs: number; stuck: boolean; detail: string }[] = [];
  readonly pings: { atMs: number; agentId: string; fullReport: boolean; leaseMs: number | undefined }[] = [];
  readonly budgets = new Map<string, number>();
  /** Whether another replica has room. */
  mayMoveOn = (): boolean => false;
  /** Whether each ping is kept in `pings`; a long run counts only. */
  keepPings = true;
  pingCount = 0;
  fleet = 1;
  readonly #answers = new Map<number, Answer[]>();

  constructor(config: Partial<SessionConfig> = {}) {
    this.wheel = new TimingWheel({
      clock: this.clock,
      tickMs: TICK_MS,
      slots: 512,
      stallMs: 200,
      onError: (error) => {
        throw error;
      },
    });
    const merged = { ...sessionConfig, ...config };
    this.context = {
      clock: this.clock,
      wheel: this.wheel,
      config: merged,
      replicaId: 'replica-1',
      self: this.self,
      metrics: this.metrics,
      silences: fleetSilences(),
      pacing: () => pacingFor(this.fleet, merged),
      mayMoveOn: () => this.mayMoveOn(),
      trouble: () => ({ shareInTrouble: 0, zoneShareInTrouble: 0, agents: 0 }),
      progressBudgetMs: (_, __, activity) => this.budgets.get(activity),
    };
  }

  attach(agentId: string, delay: Delay, phase = 0.5): { session: Session; line: Line } {
    const line: Line = {
      isReady: true,
      blockedSinceMs: undefined,
      ready: () => line.isReady,
      awayMs: () => 0,
      blockedMs: (nowMs) => (line.blockedSinceMs === undefined ? 0 : nowMs - line.blockedSinceMs),
      ping: (echo, fullReport, leaseMs) => {
        const nowMs = this.clock.monoMs();
        this.pingCount += 1;
        if (this.keepPings) this.pings.push({ atMs: nowMs, agentId, fullReport, leaseMs });
        const answerMs = delay(nowMs);
        if (answerMs !== undefined) this.#answer({ atMs: nowMs + answerMs, session, echo });
        return line.blockedSinceMs === undefined;
      },
    };
    const session = new Session({
      context: this.context,
      owner: {
        judged: (_, liveness, verdict) =>
          this.judged.push({ atMs: this.clock.monoMs(), agentId, liveness, verdict }),
        progressJudged: (_, stuck, detail) =>
          this.progress.push({ atMs: this.clock.monoMs(), stuck, detail }),
        processReported: () => {},
        end: (ended, reason) => {
          ended.ended = true;
          this.wheel.cancel(ended);
          this.ended.push({ atMs: this.clock.monoMs(), agentId, reason });
        },
      },
      sender: line,
      namespace: 'default',
      agentId,
      uid: 'uid',
      epoch: 1n,
      instanceId: '',
      client: '',
      peer: '192.0.2.1:1',
      tokenHash: new Uint8Array(32),
      phase,
    });
    return { session, line };
  }

  /** Lets time pass, tick by tick, with each answer at its own instant. */
  run(ms: number): void {
    const untilMs = this.clock.monoMs() + ms;
    for (;;) {
      const nowMs = this.clock.monoMs();
      if (nowMs >= untilMs) return;
      const tick = Math.floor(nowMs / TICK_MS) + 1;
      const endMs = Math.min(tick * TICK_MS, untilMs);
      const due = this.#answers.get(tick);
      if (due !== undefined) {
        this.#answers.delete(tick);
        due.sort((a, b) => a.atMs - b.atMs);
        for (const answer of due) {
          if (answer.atMs > endMs) {
            this.#answer(answer);
            continue;
          }
          if (answer.atMs > this.clock.monoMs()) this.clock.advance(answer.atMs - this.clock.monoMs());
          if (!answer.session.ended) answer.session.heartbeat(answer.echo, 0, undefined, undefined);
        }
      }
      this.clock.advance(endMs - this.clock.monoMs());
      this.wheel.advance();
    }
  }

  /** The process stands still: nothing is sent, heard or judged, and afterwards it knows. */
  stall(ms: number): void {
    const fromMs = this.clock.monoMs();
    this.clock.advance(ms);
    this.self.stalls.push({ fromMs, toMs: this.clock.monoMs() });
    this.wheel.advance();
    // What arrived meanwhile is read from the sockets before anything is judged.
    for (const [tick, answers] of this.#answers) {
      if (tick > Math.floor(this.clock.monoMs() / TICK_MS)) continue;
      this.#answers.delete(tick);
      for (const { session, echo } of answers) session.heartbeat(echo, 0, undefined, undefined);
    }
  }

  #answer(answer: Answer): void {
    const tick = Math.floor(answer.atMs / TICK_MS) + 1;
    const waiting = this.#answers.get(tick);
    if (waiting === undefined) this.#answers.set(tick, [answer]);
    else waiting.push(answer);
  }
}

/** Standard normal, by Box and Muller. */
export const normal = (random: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
