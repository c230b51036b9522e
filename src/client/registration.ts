import { randomUUID } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { AgentSpecSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { RegisterAgentRequestSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { type AgentError, Code } from './errors.ts';
import type { AgentTransport } from './transport.ts';

/** The agent's identity at the service: registers when needed, keeps the token, drops one that is refused. */
export class Registration {
  readonly #namespace: string;
  readonly #spec: MessageInitShape<typeof AgentSpecSchema>;
  readonly #takeover: boolean;
  readonly #timeoutMs: number;
  #id: string;
  #token: string | undefined;
  #current = false;
  #new = false;
  /** Stays the same until the registration is answered, so that repeats are safe. */
  #requestId = randomUUID();
  /** A token was refused since the last welcome: a second refusal is final. */
  #refused = false;

  constructor(options: {
    namespace: string;
    /** Default: the service makes one. */
    id?: string;
    token?: string;
    spec: MessageInitShape<typeof AgentSpecSchema>;
    takeover?: boolean;
    timeoutMs: number;
  }) {
    this.#namespace = options.namespace;
    this.#id = options.id ?? '';
    this.#token = options.token;
    this.#spec = options.spec;
    this.#takeover = options.takeover ?? false;
    this.#timeoutMs = options.timeoutMs;
  }

  get id(): string {
    return this.#id;
  }

  get token(): string {
    return this.#token ?? '';
  }

  /** The token to open a session with; registers only when this process has not done so yet, or must again. */
  async ensure(transport: AgentTransport, signal: AbortSignal): Promise<string> {
    if (this.#current && this.#token !== undefined) return this.#token;
    const request = create(RegisterAgentRequestSchema, {
      namespace: this.#namespace,
      agentId: this.#id,
      spec: create(AgentSpecSchema, this.#spec),
      takeover: this.#takeover,
      requestId: this.#requestId,
    });
    const answer = await transport.register(request, {
      token: this.#token,
      timeoutMs: this.#timeoutMs,
      signal,
    });
    this.#id = answer.agent?.id ?? this.#id;
    this.#token = answer.agentToken;
    this.#current = true;
    this.#new = true;
    this.#requestId = randomUUID();
    return answer.agentToken;
  }

  /** Whether the agent was registered since this was asked last: what belonged to it before may be gone. */
  isNew(): boolean {
    const isNew = this.#new;
    this.#new = false;
    return isNew;
  }

  /** A session was opened with the token. */
  proven(): void {
    this.#refused = false;
  }

  /** Takes in an error; true when registering anew may mend it. */
  mendable(error: AgentError): boolean {
    const firstRefusal = error.code === Code.UNAUTHENTICATED && this.#token !== undefined && !this.#refused;
    if (firstRefusal) this.#refused = true;
    if (!firstRefusal && error.code !== Code.NOT_FOUND) return false;
    this.#token = undefined;
    this.#current = false;
    this.#requestId = randomUUID();
    return true;
  }
}
