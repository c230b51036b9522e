import { Agent_Liveness, Relationship_Type } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { DeliveriesConfig } from '../../config/config.ts';
import { timestampFromMs } from '../../lib/proto-time.ts';
import { type CommandCause, putCommand } from '../coordination/delivery-record.ts';
import type { Mailboxes } from '../coordination/mailboxes.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import { mailboxFull, nobodyThere } from './errors.ts';
import { isAttached } from './liveness.ts';
import {
  decideDrain,
  decideQuarantine,
  decideRestart,
  decideResume,
  decideStop,
  type OrderDecision,
  type OrderInput,
} from './order-decisions.ts';
import { hasRoomForOrder, pendingOrders } from './order-rules.ts';
import { agentKey, agentOf, copyRecord, encodeRecord } from './record.ts';

export interface PreparedOrdersOptions {
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  wallMs: () => number;
  config: DeliveriesConfig;
  /** Unfinished deliveries that one agent may have, but for a few orders. */
  maxMailbox: number;
}

/** Orders that may be a part of something larger. */
export type OrderKind = 'drain' | 'stop' | 'resume' | 'quarantine' | 'restart';

/** Who gives an order, why and as which delivery. */
export interface OrderHow extends Pick<OrderInput, 'actor' | 'reason' | 'storeMs' | 'deliveryId'> {
  /** The fleet operation that it belongs to, if any. */
  cause?: CommandCause;
}

/** An order as a part of a commit, whose maker checks that the agent still has the revision that it was decided on. */
export interface PreparedOrder {
  /** Of the event. */
  type: string;
  message: string;
  puts: { key: string; value: Uint8Array }[];
  deletes: string[];
  /** The agent's record as it will be. */
  record: KnownAgent['record'];
  /** In whose mailbox the command is put; empty: nobody is told. */
  to: string;
}

/** What orders to single agents come to: the agent's new phase, and the command that tells it. */
export class PreparedOrders {
  readonly #options: PreparedOrdersOptions;

  constructor(options: PreparedOrdersOptions) {
    this.#options = options;
  }

  /**
   * One with a single time limit, as fleet operations give it; undefined: it is so already.
   * @throws DomainError PHASE_REFUSED, MAILBOX_FULL, NOBODY_THERE
   */
  within(kind: OrderKind, known: KnownAgent, how: OrderHow, timeoutMs: number): PreparedOrder | undefined {
    const decide: Record<OrderKind, (input: OrderInput) => OrderDecision | undefined> = {
      drain: (input) => decideDrain(input, { deadlineMs: timeoutMs, mandatory: false }),
      stop: (input) => decideStop(input, { deadlineMs: timeoutMs }),
      resume: decideResume,
      quarantine: (input) => decideQuarantine(input, { forMs: undefined }),
      restart: (input) => decideRestart(input, { by: this.restarter(known), expireAfterMs: timeoutMs }),
    };
    return this.of(known, decide[kind], how);
  }

  /** One that is decided by `decide`. @throws DomainError MAILBOX_FULL, and what `decide` throws */
  of(
    known: KnownAgent,
    decide: (input: OrderInput) => OrderDecision | undefined,
    { cause, ...how }: OrderHow,
  ): PreparedOrder | undefined {
    const { mailboxes, wallMs } = this.#options;
    const record = copyRecord(known.record);
    const input = { ...how, known, record };
    const decided = decide(input);
    if (decided === undefined) return undefined;
    agentOf(record).updateTime = timestampFromMs(wallMs());
    const { type, message, command, replacesOrders } = decided;
    const told = command === undefined ? [] : [this.#command(input, decided, command, cause)];
    return {
      type,
      message,
      puts: [{ key: agentKey(known.id), value: encodeRecord(record) }, ...told],
      deletes: replacesOrders ? pendingOrders(mailboxes, known) : [],
      record,
      to: command?.to ?? '',
    };
  }

  /** Who restarts an agent: its supervisor, if one is attached, else itself. @throws DomainError NOBODY_THERE */
  restarter({ namespace, id, record }: KnownAgent): string {
    const agent = agentOf(record);
    for (const { type, agentId } of agent.spec?.relationships ?? []) {
      if (type !== Relationship_Type.SUPERVISED_BY) continue;
      const supervisor = this.#options.directory.get(namespace, agentId);
      if (supervisor !== undefined && isAttached(agentOf(supervisor.record).liveness)) return agentId;
    }
    if (isAttached(agent.liveness) || agent.liveness === Agent_Liveness.DISCONNECTED) return id;
    throw nobodyThere(id);
  }

  /** @throws DomainError MAILBOX_FULL */
  #command(
    { known, actor, storeMs, deliveryId }: OrderInput,
    { replacesOrders }: OrderDecision,
    command: NonNullable<OrderDecision['command']>,
    cause: CommandCause | undefined,
  ) {
    const { config, mailboxes, maxMailbox } = this.#options;
    const { to, type, expireAfterMs = config.expireAfterMs } = command;
    const hasRoom = replacesOrders
      ? hasRoomForOrder(mailboxes, known, maxMailbox)
      : mailboxes.count(known.namespace, to) < maxMailbox;
    if (!hasRoom) throw mailboxFull(to, maxMailbox);
    return putCommand({
      ...cause,
      id: deliveryId,
      agentId: to,
      subjectAgentId: known.id,
      type,
      arguments: command.arguments,
      actor,
      storeMs,
      expireAfterMs,
      acceptWithinMs: config.acceptWithinMs,
      maxTries: config.maxTries,
    });
  }
}
