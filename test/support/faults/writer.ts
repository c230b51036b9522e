import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { type Client as GrpcClient, type ServiceError, status } from '@grpc/grpc-js';
import { AgentService } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { unary } from '../sim-agent.ts';
import { pause } from '../until.ts';
import type { Random } from './random.ts';
import { strain } from './strain.ts';

/** What the service acknowledged: all of it has to be there at the end. */
export class Acknowledged {
  /** Registrations: the uid by agent id. */
  readonly agents = new Map<string, string>();
  /** The number written last into an agent's label "n", with the revision of that. */
  readonly labels = new Map<string, { n: number; revision: bigint }>();
  /** Orders: the delivery by its request id. */
  readonly orders = new Map<string, { agentId: string; deliveryId: string }>();
  /** Anything that a caller must not see. */
  readonly faults: string[] = [];
  /** How often a call was repeated. */
  repeats = 0;

  clear(): void {
    this.agents.clear();
    this.labels.clear();
    this.orders.clear();
  }
}

export interface WriterOptions {
  name: string;
  /** A channel to each replica. */
  doors: readonly GrpcClient[];
  /** Agents that only this writer updates. */
  agentIds: readonly string[];
  random: Random;
  acknowledged: Acknowledged;
}

/** Answers that leave open whether the call had its effect, or say that it had none: it is repeated as it was. */
export const REPEATED: ReadonlySet<status> = new Set([
  ...[status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.ABORTED, status.CANCELLED],
  // A stream that was reset: the service itself answers INTERNAL with an id.
  status.INTERNAL,
]);
const PAUSE_MS = { between: 25, repeat: 100 };
const CALL_MS = 2_000;
/** How long a write may take to be acknowledged once everything is well again. */
const PATIENCE_MS = 15_000;

/** Writes one thing after the other, each until it is acknowledged. */
export class Writer {
  readonly #options: WriterOptions;
  #count = 0;
  #stopping = false;
  #stoppedMs = 0;
  #running: Promise<void> | undefined;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stopping = false;
    this.#running = this.#run();
  }

  /** Lets what is under way be acknowledged, and stops. Call it when everything is well. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#stoppedMs = performance.now();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      await this.#write();
      await pause(PAUSE_MS.between);
    }
  }

  async #write(): Promise<void> {
    const { random, agentIds, name, acknowledged } = this.#options;
    this.#count += 1;
    const requestId = `${name}-${this.#count}`;
    const draw = random.next();
    const agentId = random.pick(agentIds);
    if (draw < 0.1) {
      const id = `new-${requestId}`;
      const made = await this.#call(AgentService.method.registerAgent, { agentId: id, requestId });
      if (made?.agent !== undefined) acknowledged.agents.set(id, made.agent.uid);
    } else if (draw < 0.4) {
      const n = this.#count;
      const spec = { labels: { n: `${n}` } };
      const updateMask = { paths: ['labels.n'] };
      const request = { agentId, requestId, spec, updateMask };
      const updated = await this.#call(AgentService.method.updateAgent, request);
      if (updated?.agent !== undefined) {
        acknowledged.labels.set(agentId, { n, revision: updated.agent.revision });
      }
    } else {
      const request = { agentId, requestId, reason: requestId };
      const ordered = await this.#call(AgentService.method.restartAgent, request);
      if (ordered !== undefined) {
        acknowledged.orders.set(requestId, { agentId, deliveryId: ordered.deliveryId });
      }
    }
  }

  /** Undefined: it was refused, and changed nothing. */
  async #call<M extends DescMethodUnary>(
    method: M,
    request: MessageInitShape<M['input']>,
  ): Promise<MessageShape<M['output']> | undefined> {
    const { doors, random, acknowledged, name } = this.#options;
    for (;;) {
      try {
        return await unary(random.pick(doors), method, request, { deadlineMs: CALL_MS });
      } catch (error) {
        const { code, details } = error as ServiceError;
        // Nobody is there who could restart it.
        if (code === status.FAILED_PRECONDITION) return undefined;
        const fault = (what: string) => acknowledged.faults.push(`${name}: ${method.name}: ${what}`);
        if (!REPEATED.has(code) || details.startsWith('internal error')) {
          fault(`${code} ${details}`);
          return undefined;
        }
        if (this.#stopping && performance.now() > this.#stoppedMs + PATIENCE_MS * strain()) {
          fault(`still ${code} ${details} ${PATIENCE_MS} ms after the end`);
          return undefined;
        }
        acknowledged.repeats += 1;
        await pause(PAUSE_MS.repeat);
      }
    }
  }
}
