import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Agent_Liveness, AgentSpecSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { RegisterAgentRequestSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type GoAway_Reason,
  HelloSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { Event } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { AgentRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { loadConfig } from '../../../src/config/load.ts';
import type { LossHook } from '../../../src/domain/agent/care/loss-hook.ts';
import { agentKey, agentOf, decodeRecord } from '../../../src/domain/agent/record.ts';
import type { Session } from '../../../src/domain/agent/session.ts';
import type { SessionLine } from '../../../src/domain/agent/sessions.ts';
import { hashToken } from '../../../src/domain/agent/token.ts';
import { EVENT_SERIES, readEvent } from '../../../src/domain/monitoring/events.ts';
import { createFleet } from '../../../src/fleet.ts';
import { Background } from '../../../src/lib/background.ts';
import { EventLoopMonitor } from '../../../src/lib/event-loop.ts';
import { type Logger, silentLogger } from '../../../src/lib/logger.ts';
import { FakeClock, seededIds } from '../../support/fake-clock.ts';
import { type MemoryData, MemoryStore } from '../../support/memory-store.ts';
import { CountingMetrics, TICK_MS } from './session-fixture.ts';

const NO_DELAYS = { count: 0, max: 0, percentile: () => 0, reset: () => {} };

/** The stream of one agent, as the registry of sessions sees it. */
export class FakeLine implements SessionLine {
  readonly peer: string;
  readonly pings: number[] = [];
  readonly goAways: {
    reason: GoAway_Reason;
    detail: string;
    reconnectAfterMs: number | undefined;
    atMs: number;
  }[] = [];
  readonly #nowMs: () => number;
  /** Called for each ping. */
  onPing: ((echo: number) => void) | undefined;

  constructor(peer: string, nowMs: () => number) {
    this.peer = peer;
    this.#nowMs = nowMs;
  }

  ready(): boolean {
    return true;
  }

  ping(echo: number): boolean {
    this.pings.push(echo);
    this.onPing?.(echo);
    return true;
  }

  awayMs(): number {
    return 0;
  }

  blockedMs(): number {
    return 0;
  }

  goAway(reason: GoAway_Reason, detail: string, reconnectAfterMs: number | undefined): void {
    this.goAways.push({ reason, detail, reconnectAfterMs, atMs: this.#nowMs() });
  }
}

export interface TestFleetOptions {
  data?: MemoryData;
  /** Shared with another replica, which then hears of every commit. */
  store?: MemoryStore;
  lossHooks?: readonly LossHook[];
  replicaId?: string;
  clock?: FakeClock;
  replicaAlive?: (id: string) => boolean;
  flags?: Record<string, string>;
  seed?: number;
  /** Called before the views start, as the service adds to what it has made. */
  beforeStart?(fleet: ReturnType<typeof createFleet> & { store: MemoryStore; clock: FakeClock }): void;
}

export type TestFleet = Awaited<ReturnType<typeof startFleet>>;

/** All that looks after agents, as the service wires it, on a store in memory and a fake clock. */
export async function startFleet(options: TestFleetOptions = {}) {
  const clock = options.clock ?? new FakeClock();
  const store =
    options.store ??
    new MemoryStore({
      wallMs: () => clock.wallMs(),
      ...(options.data === undefined ? {} : { data: options.data }),
    });
  const replicaId = options.replicaId ?? 'replica-1';
  const { config } = loadConfig({ env: {}, flags: { id: replicaId, ...options.flags } });
  const metrics = new CountingMetrics();
  const warnings: string[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: (_, message) => warnings.push(message),
    error: (fields, message) => warnings.push(`${message}: ${String((fields as { err?: unknown }).err)}`),
    child: () => log,
  };
  const background = new Background({ log });
  const loop = new EventLoopMonitor({ clock, histogram: NO_DELAYS });
  const ids = seededIds(options.seed ?? 1);
  const fleet = createFleet({
    config,
    store,
    clock,
    ids,
    log,
    background,
    loop,
    metrics,
    replicaAlive: options.replicaAlive ?? (() => false),
    shares: () => undefined,
    lossHooks: options.lossHooks ?? [],
  });
  options.beforeStart?.({ ...fleet, store, clock });
  await fleet.views.start();

  const record = (agentId: string, namespace = 'default'): AgentRecord | undefined => {
    const entry = store.data.namespaces.get(namespace)?.entries.get(agentKey(agentId));
    return entry === undefined ? undefined : decodeRecord(entry.value);
  };
  const events = (agentId?: string, namespace = 'default'): Event[] =>
    (store.data.namespaces.get(namespace)?.series.get(EVENT_SERIES) ?? [])
      .map((entry) => readEvent(namespace, entry, entry.value))
      .filter((event) => agentId === undefined || event.agentId === agentId);

  return {
    ...fleet,
    config,
    store,
    clock,
    loop,
    background,
    metrics,
    ids,
    log,
    warnings,
    record,
    events,
    /** Types of events, without those of registration. */
    types: (agentId?: string) =>
      events(agentId)
        .map(({ type }) => type)
        .filter((type) => type !== 'agent.registered'),
    liveness: (agentId: string): Agent_Liveness => {
      const found = record(agentId);
      return found === undefined ? Agent_Liveness.UNSPECIFIED : agentOf(found).liveness;
    },
    /** Registers an agent and returns its token. */
    register: async (
      agentId: string,
      spec: MessageInitShape<typeof AgentSpecSchema> = {},
    ): Promise<string> => {
      const request = create(RegisterAgentRequestSchema, { agentId, spec: create(AgentSpecSchema, spec) });
      const response = await fleet.agents.register(request, { principal: 'anonymous', token: undefined });
      return response.agentToken;
    },
    /** Opens a session. `answers`: after how long each ping is answered; absent: never. */
    attach: async (
      agentId: string,
      token: string,
      how: { instanceId?: string; peer?: string; answers?: boolean } = {},
    ): Promise<{ session: Session; line: FakeLine }> => {
      const line = new FakeLine(how.peer ?? '192.0.2.1:1', () => clock.monoMs());
      const hello = create(HelloSchema, { instanceId: how.instanceId ?? '' });
      const { session } = await fleet.sessions.attach(
        { namespace: 'default', agentId },
        hashToken(token),
        hello,
        line,
      );
      if (how.answers === true) line.onPing = (echo) => void session.heartbeat(echo, 0, undefined, undefined);
      return { session, line };
    },
    /** Lets time pass, and what it causes be stored. */
    pass: async (ms: number): Promise<void> => {
      for (let left = ms; left > 0; left -= TICK_MS) {
        clock.advance(Math.min(TICK_MS, left));
        loop.tick();
        fleet.wheel.advance();
      }
      await turns();
    },
    /** One round of care, as the service makes every second. */
    tend: async (): Promise<void> => {
      await fleet.care.tick();
      fleet.janitor.sweep();
      await background.idle();
    },
    /** The process stands still. */
    stall: (ms: number): void => {
      clock.advance(ms);
      loop.tick();
      fleet.wheel.advance();
    },
    /** Waits until nothing is under way; not while the store is away. */
    settle: () => background.idle(),
    stop: async (): Promise<void> => {
      store.faults.away = false;
      fleet.verdicts.close();
      fleet.views.stop();
      await background.idle();
    },
  };
}

/** Lets everything that is ready to run do so. */
export async function turns(count = 12): Promise<void> {
  for (let index = 0; index < count; index += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Why a promise was rejected. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('expected a rejection');
    },
    (error: unknown) => error,
  );
}
