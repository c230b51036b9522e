import { create, toBinary } from '@bufbuild/protobuf';
import { AgentSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  AgentService,
  GetAgentResponseSchema,
  ListAgentsResponseSchema,
  RegisterAgentResponseSchema,
  WatchAgentsResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  OpenSessionResponseSchema,
  PollSessionResponseSchema,
  SessionService,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { DomainError } from '../../src/lib/errors.ts';
import { systemIds } from '../../src/lib/ids.ts';
import { type Logger, silentLogger } from '../../src/lib/logger.ts';
import { ErrorMapper } from '../../src/rpc/errors.ts';
import type { ValidateRequest } from '../../src/rpc/interceptors/validation.ts';
import type { CallOutcome, RpcObserver } from '../../src/rpc/observer.ts';
import { Pipeline } from '../../src/rpc/pipeline.ts';
import {
  bindService,
  type CallContext,
  type Implementation,
  type ServiceBinding,
  type SessionChannel,
  type SessionReceiver,
} from '../../src/rpc/service.ts';

/** A promise that a test settles from outside. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Resolves once `condition` holds; for what has no event, bounded. */
export async function until(condition: () => boolean, what: string, timeoutMs = 5_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const missing = (id: string) =>
  new DomainError({
    reason: ErrorReason.AGENT_NOT_FOUND,
    message: `there is no agent "${id}"`,
    metadata: { agent_id: id },
  });

/** GetAgent: by id "missing", "crash", "slow" (until `release`), else the agent named after its principal. */
export function fakeAgentService(overrides: Partial<Implementation<typeof AgentService>> = {}) {
  const slow = deferred();
  const contexts: CallContext[] = [];
  const watch = { opened: 0, closed: 0, pulled: 0 };
  const implementation: Implementation<typeof AgentService> = {
    async registerAgent(request) {
      return create(RegisterAgentResponseSchema, {
        agent: create(AgentSchema, { id: request.agentId }),
        agentToken: 'orch1.x.y',
      });
    },
    async getAgent(request, context) {
      contexts.push(context);
      if (request.agentId === 'missing') throw missing(request.agentId);
      if (request.agentId === 'crash') throw new Error('secret detail /etc/passwd');
      if (request.agentId === 'slow') {
        await Promise.race([
          slow.promise,
          new Promise((_, reject) => {
            context.signal.addEventListener('abort', () => reject(context.signal.reason));
          }),
        ]);
      }
      return create(GetAgentResponseSchema, {
        agent: create(AgentSchema, { id: request.agentId, namespace: context.principal.name }),
      });
    },
    async listAgents(request) {
      const agents = Array.from({ length: request.pageSize }, (_, i) =>
        create(AgentSchema, { id: `${i}-${'x'.repeat(1_000)}` }),
      );
      return create(ListAgentsResponseSchema, { agents });
    },
    async *watchAgents(request, context) {
      contexts.push(context);
      watch.opened += 1;
      try {
        const count = Number(request.cursor === '' ? 3 : request.cursor);
        for (let i = 0; i < count; i += 1) {
          watch.pulled += 1;
          yield create(WatchAgentsResponseSchema, { cursor: `${i}`.padStart(1_000, '0') });
        }
        if (request.namespace === 'forever') {
          await new Promise((_, reject) => {
            const stop = () => reject(context.signal.reason);
            if (context.signal.aborted) stop();
            context.signal.addEventListener('abort', stop);
          });
        }
      } finally {
        watch.closed += 1;
      }
    },
    updateAgent: async () => Promise.reject(new Error('unused')),
    deregisterAgent: async () => Promise.reject(new Error('unused')),
    explainAgent: async () => Promise.reject(new Error('unused')),
    drainAgent: async () => Promise.reject(new Error('unused')),
    resumeAgent: async () => Promise.reject(new Error('unused')),
    restartAgent: async () => Promise.reject(new Error('unused')),
    stopAgent: async () => Promise.reject(new Error('unused')),
    quarantineAgent: async () => Promise.reject(new Error('unused')),
    confirmLoss: async () => Promise.reject(new Error('unused')),
    setAutomation: async () => Promise.reject(new Error('unused')),
    ...overrides,
  };
  return {
    binding: bindService(AgentService, implementation),
    contexts,
    watch,
    release: () => slow.resolve(),
  };
}

export interface FakeSession {
  channel: SessionChannel;
  context: CallContext;
  received: Uint8Array[];
  halfClosed: ReturnType<typeof deferred>;
  closed: ReturnType<typeof deferred>;
}

/** A session service that records what it gets and answers each frame with a ping if `echo`. */
export function fakeSessionService(options: { echo?: boolean; onMessage?: (s: FakeSession) => void } = {}) {
  const sessions: FakeSession[] = [];
  const opened = deferred<FakeSession>();
  const ping = toBinary(
    OpenSessionResponseSchema,
    create(OpenSessionResponseSchema, { frame: { case: 'ping', value: { echo: 7n } } }),
  );
  const binding = bindService(SessionService, {
    openSession(channel, context): SessionReceiver {
      const session = {
        channel,
        context,
        received: [],
        halfClosed: deferred(),
        closed: deferred(),
      } as FakeSession;
      sessions.push(session);
      opened.resolve(session);
      return {
        message(bytes) {
          session.received.push(bytes);
          options.onMessage?.(session);
          if (options.echo === true) channel.send(ping);
        },
        halfClosed: () => session.halfClosed.resolve(undefined),
        closed: () => session.closed.resolve(undefined),
      };
    },
    pollSession: async () => create(PollSessionResponseSchema, { epoch: 1n }),
  });
  return { binding, sessions, opened: opened.promise };
}

export interface FakePipeline {
  pipeline: Pipeline;
  outcomes: (CallOutcome & { method: string; traceparent: string | undefined })[];
  logged: { level: string; fields: Record<string, unknown>; message: string }[];
}

export function fakePipeline(
  options: {
    validate?: ValidateRequest;
    maxUnaryInFlight?: number;
    maxWatches?: number;
    drainTimeoutMs?: number;
  } = {},
): FakePipeline {
  const logged: FakePipeline['logged'] = [];
  const at = (level: string) => (fields: object, message: string) =>
    void logged.push({ level, fields: { ...fields }, message });
  const log: Logger = {
    ...silentLogger,
    debug: at('debug'),
    warn: at('warn'),
    error: at('error'),
    child: () => log,
  };
  const outcomes: FakePipeline['outcomes'] = [];
  const observer: RpcObserver = {
    start: (info) => {
      const traceparent = info.header('traceparent');
      return {
        run: (work) => work(),
        finish: (outcome) => void outcomes.push({ ...outcome, method: info.method.name, traceparent }),
      };
    },
  };
  const pipeline = new Pipeline({
    observer,
    mapper: new ErrorMapper({ log, ids: systemIds }),
    log,
    clock: systemClock,
    validate: options.validate ?? (() => []),
    limits: {
      maxUnaryInFlight: options.maxUnaryInFlight ?? 100,
      maxWatches: options.maxWatches ?? 100,
      maxSessions: 100,
    },
    drainTimeoutMs: options.drainTimeoutMs ?? 10_000,
  });
  return { pipeline, outcomes, logged };
}

export type Services = readonly ServiceBinding[];
