import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AgentSpecSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Agent } from '../client/agent.ts';
import type {
  AgentError,
  AgentReport,
  CommandHandlers,
  ConnectAgentOptions,
  StateChange,
} from '../client/index.ts';
import { sleep } from '../client/time.ts';
import type { AgentTransport } from '../client/transport.ts';
import type { Identity } from './token-file.ts';

/** Another process is this agent: it is left alone until it is gone. Milliseconds. */
const supersededMs = 60_000;
/** Between tries that the SDK holds for useless: this, twice this and so on up to the most. Milliseconds. */
const finalMinMs = 5_000;
const finalMaxMs = 60_000;

/**
 * The program's agent. The SDK gives up where trying again is of no use to a worker; a supervisor goes on, because its
 * program runs on: somebody may free the id, mend the service or its rules.
 */
export class Attachment {
  /** Resolves when it will not be attached any more: it left, or was stopped by order. */
  readonly over: Promise<void>;
  readonly #options: AttachmentOptions;
  readonly #leaving = new AbortController();
  #identity: Identity;
  #agent: Agent | undefined;
  #said = '';

  constructor(options: AttachmentOptions) {
    this.#options = options;
    this.#identity = options.identity;
    this.over = this.#run();
  }

  /** The agent's id, once it is known. */
  get id(): string {
    return this.#agent?.id ?? this.#identity.id;
  }

  /** The report is another one: tell it soon. */
  changed(): void {
    this.#agent?.report({});
  }

  /** Says goodbye if the service is there, and ends. */
  async leave(reason: string): Promise<void> {
    this.#leaving.abort();
    await this.#agent?.leave(reason);
    await this.over;
  }

  /** Ends at once, without a goodbye. */
  async close(): Promise<void> {
    this.#leaving.abort();
    await this.#agent?.close();
    await this.over;
  }

  async #run(): Promise<void> {
    const { signal } = this.#leaving;
    let takeover = this.#options.takeover;
    for (let tries = 0; !signal.aborted; tries++) {
      const { agent, attachedOnce } = this.#start(takeover);
      const error = await agent.closed;
      if (attachedOnce()) [tries, takeover] = [0, false];
      this.#identity = { ...this.#identity, id: agent.id, token: agent.token || undefined };
      this.#agent = undefined;
      if (signal.aborted || error === undefined) return;
      if (error.reason === 'AGENT_STOPPED') {
        this.#options.onStopped();
        return;
      }
      const superseded = error.reason === 'go_away_superseded' || error.reason === 'SESSION_SUPERSEDED';
      // Its token would take the agent back from whoever has it now, and so forth: without it, only the free id is taken.
      if (superseded) this.#identity = { ...this.#identity, token: undefined };
      const waitMs = superseded
        ? supersededMs
        : Math.max(error.retryAfterMs ?? 0, Math.min(finalMaxMs, finalMinMs * 2 ** Math.min(tries, 10)));
      this.#say(`is not attached: ${error.message}`);
      await sleep(waitMs * (0.9 + 0.2 * this.#options.random()), signal);
    }
  }

  #start(takeover: boolean): { agent: Agent; attachedOnce: () => boolean } {
    const { namespace, id, token } = this.#identity;
    let attached = false;
    const agent = new Agent(
      {
        server: '',
        namespace,
        ...(id === '' ? {} : { id }),
        ...(token === undefined ? {} : { token }),
        takeover,
        spec: this.#options.spec,
        instanceId: this.#options.instanceId,
        client: this.#options.client,
        maxInFlight: 1,
        report: this.#options.report,
        onCommand: this.#options.onCommand,
        ...this.#options.tasks,
        onState: (change) => {
          if (change.state === 'connected') attached = true;
          this.#state(change);
        },
      },
      { createTransport: this.#options.createTransport, random: this.#options.random },
    );
    this.#agent = agent;
    agent.attached.catch(() => {}); // `closed` says it too
    return { agent, attachedOnce: () => attached };
  }

  #state({ state, error }: StateChange): void {
    const agent = this.#agent;
    if (state === 'connected' && agent !== undefined) {
      this.#said = '';
      this.#options.note(`is agent ${agent.id} in ${agent.namespace}`);
      this.#options.onAttached({ namespace: agent.namespace, id: agent.id, token: agent.token });
    } else if (state === 'waiting') this.#say(`is not attached: ${wordsOf(error)}; runs on, and tries again`);
  }

  /** Says a thing once, however often it happens. */
  #say(text: string): void {
    if (text !== this.#said) this.#options.note(text);
    this.#said = text;
  }
}

function wordsOf(error: AgentError | undefined): string {
  return error?.message.replace(/[\s.]+$/, '') ?? 'no connection';
}

export interface AttachmentOptions {
  createTransport: () => AgentTransport;
  identity: Identity;
  /** At the first attachment only. */
  takeover: boolean;
  spec: MessageInitShape<typeof AgentSpecSchema>;
  /** Names this process. */
  instanceId: string;
  /** Names this software. */
  client: string;
  report: () => AgentReport;
  onCommand: CommandHandlers;
  /** Whether it takes tasks, and how many at a time. */
  tasks?: Required<Pick<ConnectAgentOptions, 'onTask' | 'concurrency' | 'declineTask'>> | undefined;
  /** Uniform in [0, 1). */
  random: () => number;
  onAttached: (identity: Identity) => void;
  /** The service says that the agent was stopped. */
  onStopped: () => void;
  /** One line for people. */
  note: (text: string) => void;
}
