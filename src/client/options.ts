import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AgentSpecSchema, Work } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Revoke, Task } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { CallLimits } from './calls.ts';
import type { CommandHandlers } from './commands.ts';
import type { DeliveryHandler } from './delivery.ts';
import type { AgentError } from './errors.ts';
import type { LockControls, LockOptions } from './locks.ts';
import type { MessageHandler, MessageHandlers } from './message.ts';
import type { Answer, CallOptions, Sent } from './messages.ts';
import type { EffectFrame } from './outbox.ts';
import type { CallTarget, MessageTarget, OutgoingMessage, SendOptions } from './outgoing.ts';
import type { AgentReport } from './reporter.ts';
import type { SharedState } from './shared-state.ts';
import type { Subscription } from './subscriptions.ts';
import type { TaskHandler, TaskHandlers } from './task.ts';
import type { Tasks } from './tasks.ts';
import type { TlsOptions } from './transport.ts';

/**
 * Where the agent stands:
 * - `connecting`: registering or opening a session
 * - `connected`: a session is open
 * - `waiting`: not connected, the next try is planned
 * - `closed`: over, for good
 */
export type AgentState = 'connecting' | 'connected' | 'waiting' | 'closed';

/** What came with a change of state. */
export interface StateChange {
  state: AgentState;
  /** Why the agent is `waiting` or `closed`; absent after a clean leave or close. */
  error?: AgentError;
  /** With `waiting`: when the next try comes, in milliseconds. */
  retryInMs?: number;
  /** With `connected`: the session's epoch. */
  epoch?: bigint;
}

/** What the client needs of a logger; pino and the console's methods behind a small shim fit. */
export interface ClientLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** How an agent connects. */
export interface ConnectAgentOptions {
  /** Where the gRPC listener is: "host:port", "http://host:port", or "https://host:port" for TLS. */
  server: string;
  /** TLS material; giving it turns TLS on. */
  tls?: TlsOptions;
  /** Default "default". */
  namespace?: string;
  /** The agent's id; default: the service makes one (see `AgentHandle.id`). */
  id?: string;
  /** What the agent is and can do. */
  spec: MessageInitShape<typeof AgentSpecSchema>;
  /** The agent token of an earlier registration, if it was kept. One that is refused is replaced by registering anew. */
  token?: string;
  /** Names this process; default: a random id. Two processes must not share one. */
  instanceId?: string;
  /** Take the agent over although another process has a live session of it; that session is superseded. */
  takeover?: boolean;
  /**
   * How many deliveries may be unanswered at a time, and how many messages are handled at a time; default 1, or `concurrency`
   * for the former where that is more. An agent whose
   * handlers call agents that call it back needs more than one: the call back waits for its turn.
   */
  maxInFlight?: number;
  /** Optional features that the agent can do. Default: those of the SDK, "messages/1". */
  features?: readonly string[];
  /** How the client names itself; default "orchestrator-ts/<version>". */
  client?: string;
  /** Asked whenever a report may go out; cheap and synchronous. Its fields pass before those of `handle.report`. */
  report?: () => AgentReport;
  /** The least time between unprompted reports; answers to pings always carry what changed. Default 1 s. */
  reportIntervalMs?: number;
  /**
   * Takes messages, by their type: { "order.paid": …, "order.*": …, "*": … }; the closest pattern counts. Also calls, unless
   * `onCall` has a handler for them: what it resolves to is the answer.
   */
  onMessage?: MessageHandlers;
  /** Takes calls only, by their type. */
  onCall?: MessageHandlers;
  /**
   * Takes tasks: one handler for all, or by capability: { "image.resize": …, "image.*": …, "*": … }; the closest counts. The
   * capabilities are those of `spec`; handlers alone bring no tasks.
   */
  onTask?: TaskHandler | TaskHandlers;
  /**
   * How many tasks run at a time; default: `spec.capacity.slots`, else 1. An agent with `onTask` or `concurrency` whose spec
   * declares no slots has so many.
   */
  concurrency?: number;
  /**
   * Asked before a task is taken on: says why it is not taken now, and it goes to another agent. A handler that declines later
   * gives back a task that has begun, which counts as a failed attempt.
   */
  declineTask?: (task: Task) => string | undefined;
  /** Takes messages and tasks that no handler takes; without it those are declined. */
  onDelivery?: DeliveryHandler;
  /**
   * Takes commands, by their type. Default: "drain" waits until no message or task is held, "stop" does the same and
   * then leaves and closes; an agent that works on other things too says here how it stops them.
   */
  onCommand?: CommandHandlers;
  /** Work was taken back. The delivery's `controls.signal` has fired already. */
  onRevoke?: (revoke: Revoke) => void;
  /** The state changed. */
  onState?: (change: StateChange) => void;
  /** Default: silent. */
  log?: ClientLogger;
  /** Gives up while the first session is not open yet. Default: an agent waits for its service as long as it takes. */
  signal?: AbortSignal;
  /** How long a registration and a welcome may take; default 10 s. */
  timeoutMs?: number;
  /** Reconnect backoff, the upper half of each wait random: the ceiling of the first wait, default 1 s, … */
  backoffBaseMs?: number;
  /** … and of all later ones, default 15 s. */
  backoffCapMs?: number;
}

/** An agent that is attached, or keeps trying to be, until it leaves, is closed or is told not to come back. */
export interface AgentHandle extends AsyncDisposable {
  readonly namespace: string;
  /** The agent's id, also where the service made it. */
  readonly id: string;
  /** The agent's secret; keep it to come back as the same agent after this process ends. */
  readonly token: string;
  readonly instanceId: string;
  readonly state: AgentState;
  /** The epoch of the latest session: goes into `session_epoch` of unary writes. */
  readonly epoch: bigint;
  /** The features agreed on in the latest session. */
  readonly features: readonly string[];
  /**
   * Fires when nothing was heard from the service for a whole lease: by now the agent counts as lost and its work may
   * be given to others, so work that must not run twice has to stop. Hearing from the service again brings a fresh
   * signal: read the property anew for each piece of work.
   */
  readonly leaseSignal: AbortSignal;
  /** Resolves when the agent is closed for good; with the error that ended it, if one did. Never rejects. */
  readonly closed: Promise<AgentError | undefined>;

  /** Says how the agent is; fields left out stay. Sent soon, several changes in one. Throws RangeError on bad values. */
  report(report: AgentReport): void;
  /** Sets a progress counter: of the agent's own (by name) or of a delivery's work. Throws RangeError. */
  progress(what: string | Work, done: number | bigint, total?: number | bigint, name?: string): void;
  /** Takes a counter out of the report. */
  endProgress(what: string | Work): void;
  /**
   * Sends a message and resolves when it is stored: it is delivered at least once, or becomes a dead letter with its reason.
   * While there is no connection it waits; sent again after a reconnect it is recognised. Rejects with an AgentError:
   * - NOT_FOUND: AGENT_NOT_FOUND (no such agent), NO_RECEIVER (nobody has the capability, is subscribed or selected)
   * - UNAVAILABLE: RECEIVER_GONE (of those with the capability nobody may be given work)
   * - RESOURCE_EXHAUSTED: MAILBOX_FULL (try again after `retryAfterMs`), LIMIT_REACHED (too many receivers)
   * - INVALID_ARGUMENT: INVALID_FIELDS (a payload over 64 KiB, a bad topic or selector, an expired "expirytime")
   * - DEADLINE_EXCEEDED: not_attached or not_acknowledged within `timeoutMs`; in the latter case it may have been stored
   */
  send(target: MessageTarget, message: OutgoingMessage, options?: SendOptions): Promise<Sent>;
  /** Sends a message to everyone who is subscribed to a topic. Errors: as `send`. */
  publish(topic: string, message: OutgoingMessage, options?: SendOptions): Promise<Sent>;
  /**
   * Has the agent receive what is sent to a topic, or with "jobs.*" to all topics below it, and gives it to the handler; without
   * one, to that of its type. To subscribe again is fine. Rejects with an AgentError: INVALID_ARGUMENT, LIMIT_REACHED.
   */
  subscribe(topic: string, handler?: MessageHandler, limits?: CallLimits): Promise<Subscription>;
  /**
   * Sends a message to one agent and waits for its answer. Rejects with an AgentError:
   * - NOT_FOUND: AGENT_NOT_FOUND, NO_RECEIVER; at once
   * - UNAVAILABLE: RECEIVER_GONE (nobody is there to take it, or who had it is lost); otherwise the connection broke under the
   *   call, which may have been answered
   * - FAILED_PRECONDITION: CALL_FAILED, a CallFailedError with what the agent said
   * - DEADLINE_EXCEEDED: no answer in time, or not_attached
   * - RESOURCE_EXHAUSTED: MAILBOX_FULL, LIMIT_REACHED
   */
  call(target: CallTarget, message: OutgoingMessage, options?: CallOptions): Promise<Answer>;
  /**
   * Gives messages of a type, or of a pattern ("order.*", "*"), to a handler; returns what takes it out again. What came before
   * there was a handler was declined: give handlers in the options, or in the same turn in which `connectAgent` resolves.
   */
  onMessage(pattern: string, handler: MessageHandler): () => void;
  /** The same for calls only. */
  onCall(pattern: string, handler: MessageHandler): () => void;
  /**
   * Gives tasks of a capability, or of a pattern ("image.*", "*"), to a handler; without one, all of them. Returns what takes it
   * out again. What came before there was a handler was declined: give handlers in the options, or in the same turn in which
   * `connectAgent` resolves, and then say `concurrency`.
   */
  onTask(...given: [handler: TaskHandler] | [pattern: string, handler: TaskHandler]): () => void;
  /** Tasks that this agent wants done: submit, wait, watch, cancel. */
  readonly tasks: Tasks;
  /**
   * Sends a frame of the session and resolves when its effect is stored; rejects with the AgentError that the service answers.
   * While there is no connection the frame waits and is sent with the next session.
   */
  sendFrame(frame: EffectFrame): Promise<void>;
  /** Entries that agents and operators share: read, write, compare-and-set, watch. */
  readonly shared: SharedState;
  /**
   * Takes a lock, does the work, gives the lock back and resolves with what the work resolves to. The work gets a fencing
   * token to show to what the lock protects, and a signal that fires when the lock is lost: it has to stop then. Rejects
   * with LOCK_HELD when `waitMs` has passed, and with what the work rejects with.
   */
  withLock<T>(name: string, options: LockOptions, work: (lock: LockControls) => Promise<T> | T): Promise<T>;
  /** Says goodbye, waits until that is stored (bounded by `timeoutMs`) and closes. */
  leave(reason?: string): Promise<void>;
  /** Closes without a goodbye: the service sees a lost connection. */
  close(): Promise<void>;
}
