import { create } from '@bufbuild/protobuf';
import { Agent_Phase, Drain_State } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  AgentOutcome_State,
  AgentOutcomeSchema,
  type OperationSpec,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  type OperationAgentRecord,
  OperationAgentRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { DeliveriesConfig } from '../../../config/config.ts';
import { DomainError } from '../../../lib/errors.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Check, Commit, Store } from '../../../state/store.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { mailboxFull } from '../../agent/errors.ts';
import { loadAgent } from '../../agent/load.ts';
import type { PreparedOrders } from '../../agent/prepared-orders.ts';
import { agentKey, agentOf } from '../../agent/record.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import { type CommandCause, putCommand } from '../delivery-record.ts';
import type { Mailboxes } from '../mailboxes.ts';
import { goneWords, isOrdered, type OrderedCommand } from './agent-rules.ts';
import {
  deliveryIdOf,
  encodeOutcome,
  operationKey,
  operationOf,
  outcomeKey,
  waveOf,
} from './operation-record.ts';
import type { KnownOperation } from './operation-view.ts';

export interface CommandGiverOptions {
  store: Store;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  orders: PreparedOrders;
  events: EventWriter;
  config: DeliveriesConfig;
  maxMailbox: number;
}

/** What giving one agent its command came to. */
export type Given =
  | { kind: 'given'; revision: bigint }
  /** The operation, or what became of the agent, is not as this replica's view has it. */
  | { kind: 'outdated' }
  /** This replica does not look after the namespace any more. */
  | { kind: 'fenced' };

/** Who asks for a command, and how it is known. */
interface How {
  actor: string;
  storeMs: number;
  deliveryId: string;
  timeoutMs: number;
  cause: CommandCause;
}

/** The effects of one agent's command, and how the agent stands after it. */
interface Composed extends Pick<Commit, 'puts' | 'deletes'> {
  event?: { type: string; message: string };
  state: AgentOutcome_State;
  verified: boolean;
  error: string;
  /** Whose mailbox it went to; empty: nobody had to be told. */
  to: string;
}

const ATTEMPTS = 8;

/** Gives the agents of operations their commands: each in one commit with the record that it has it. */
export class CommandGiver {
  readonly #options: CommandGiverOptions;

  constructor(options: CommandGiverOptions) {
    this.#options = options;
  }

  /** @throws StoreUnavailableError, StoreFullError */
  async give(operation: KnownOperation, place: number, fence: Check, storeMs: number): Promise<Given> {
    const { store, directory, events } = this.#options;
    const { namespace, id, record, who } = operation;
    const agentId = who[place];
    if (agentId === undefined) return { kind: 'outdated' };
    const before = operation.outcomes.get(place);
    const tries = (before?.record.outcome?.tries ?? 0) + 1;
    const { spec, actor } = operationOf(record);
    if (spec === undefined) throw new Error('an operation without its spec');
    const key = outcomeKey(id, place);
    const how = {
      actor,
      storeMs,
      deliveryId: deliveryIdOf(id, place, tries),
      timeoutMs: record.agentTimeoutMs,
      cause: { operationId: id, traceparent: record.traceparent, tracestate: record.tracestate },
    };
    let agent = directory.get(namespace, agentId);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const { event, ...composed } = this.#compose(spec, agent, how);
      const outcome = outcomeOf(operation, { place, agentId, tries, agent, composed, storeMs, how });
      const attributes = { operation: id };
      const committed = await store.commit({
        namespace,
        checks: [
          fence,
          { key: operationKey(id), revision: operation.revision },
          { key, revision: before?.revision ?? 0n },
          { key: agentKey(agentId), revision: agent?.revision ?? 0n },
        ],
        puts: [{ key, value: encodeOutcome(outcome) }, ...(composed.puts ?? [])],
        deletes: composed.deletes ?? [],
        appends:
          event === undefined
            ? []
            : [events.append({ ...event, severity: Event_Severity.INFO, actor, agentId, attributes })],
      });
      if (committed.kind === 'committed') return { kind: 'given', revision: committed.revision };
      if (committed.kind === 'conflict' && committed.key === fence.key) return { kind: 'fenced' };
      if (committed.kind === 'conflict' && committed.key !== agentKey(agentId)) return { kind: 'outdated' };
      agent = await loadAgent(store, namespace, agentId);
    }
    return { kind: 'outdated' };
  }

  /** What would stand in the way of an agent's command now; empty: nothing. */
  obstacle(spec: OperationSpec, agent: KnownAgent, how: Omit<How, 'cause' | 'deliveryId'>): string {
    const { state, error } = this.#compose(spec, agent, { ...how, deliveryId: 'dry-run', cause: {} });
    return state === AgentOutcome_State.DELIVERED ? '' : error;
  }

  #compose(spec: OperationSpec, agent: KnownAgent | undefined, how: How): Composed {
    if (agent === undefined) return over(AgentOutcome_State.FAILED, 'it was deregistered');
    try {
      const { command } = spec;
      return isOrdered(command) ? this.#order(command, spec, agent, how) : this.#custom(spec, agent, how);
    } catch (error) {
      // Its phase does not allow it, its mailbox is full, nobody is there: that is what became of it.
      if (error instanceof DomainError && REFUSALS.has(error.reason)) {
        return over(AgentOutcome_State.FAILED, error.message);
      }
      throw error;
    }
  }

  #order(command: OrderedCommand, spec: OperationSpec, agent: KnownAgent, how: How): Composed {
    const already = isSoAlready(command, agent);
    if (already !== undefined) return already;
    const { actor, storeMs, deliveryId, timeoutMs, cause } = how;
    const kind = command === 'pause' ? 'quarantine' : command;
    const order = { actor, storeMs, deliveryId, cause, reason: spec.reason };
    const prepared = this.#options.orders.within(kind, agent, order, timeoutMs);
    // A stop that somebody else ordered is followed to its end.
    if (prepared === undefined) return { ...DELIVERED, to: '' };
    const { puts, deletes, to, type, message } = prepared;
    return { ...DELIVERED, puts, deletes, to, event: { type, message } };
  }

  #custom(spec: OperationSpec, agent: KnownAgent, how: How): Composed {
    const { mailboxes, config, maxMailbox } = this.#options;
    const gone = goneWords(agentOf(agent.record).liveness);
    if (gone !== undefined) return over(AgentOutcome_State.FAILED, gone);
    if (mailboxes.count(agent.namespace, agent.id) >= maxMailbox) throw mailboxFull(agent.id, maxMailbox);
    const { actor, storeMs, deliveryId, timeoutMs, cause } = how;
    const put = putCommand({
      ...cause,
      id: deliveryId,
      agentId: agent.id,
      type: spec.command,
      arguments: spec.arguments,
      actor,
      storeMs,
      expireAfterMs: timeoutMs,
      acceptWithinMs: config.acceptWithinMs,
      maxTries: config.maxTries,
    });
    return { ...DELIVERED, puts: [put], to: agent.id };
  }
}

const DELIVERED = { state: AgentOutcome_State.DELIVERED, verified: false, error: '' };

const over = (state: AgentOutcome_State, error: string, verified = false): Composed => ({
  state,
  verified,
  error,
  to: '',
});

const REFUSALS: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.PHASE_REFUSED,
  ErrorReason.MAILBOX_FULL,
  ErrorReason.NOBODY_THERE,
]);

/** An agent of which the command asks what it is: it is done, and need not be told. */
function isSoAlready(command: OrderedCommand, { record }: KnownAgent): Composed | undefined {
  const { phase, drain, quarantine } = agentOf(record);
  const done = (words: string, verified = true): Composed => over(AgentOutcome_State.DONE, words, verified);
  switch (command) {
    case 'resume':
      return phase === Agent_Phase.ACTIVE || phase === Agent_Phase.REGISTERED
        ? done('it could be given work already')
        : undefined;
    case 'pause':
      // One with an end (a cool-off) is not what is asked for.
      return phase === Agent_Phase.QUARANTINED && quarantine?.endTime === undefined
        ? done('it was set aside already')
        : undefined;
    case 'drain': {
      if (phase !== Agent_Phase.DRAINED) return undefined;
      const seen = drain?.state === Drain_State.STOPPED || drain?.state === Drain_State.NOTHING_RAN;
      return done(
        seen ? 'it was drained already' : 'it counted as drained already: the deadline of that had passed',
        seen,
      );
    }
    default:
      return undefined;
  }
}

function outcomeOf(
  { record }: KnownOperation,
  given: {
    place: number;
    agentId: string;
    tries: number;
    agent: KnownAgent | undefined;
    composed: Composed;
    storeMs: number;
    how: How;
  },
): OperationAgentRecord {
  const { place, agentId, tries, agent, composed, storeMs, how } = given;
  const { to, state, verified, error } = composed;
  return create(OperationAgentRecordSchema, {
    outcome: create(AgentOutcomeSchema, {
      agentId,
      wave: waveOf(record, place),
      state,
      deliveryId: to === '' ? '' : how.deliveryId,
      verified,
      error,
      updateTime: timestampFromMs(storeMs),
      tries,
    }),
    round: record.round,
    deadlineMs: BigInt(Math.round(storeMs + record.agentTimeoutMs)),
    mailboxAgentId: to,
    uid: agent === undefined ? '' : agentOf(agent.record).uid,
    oldInstanceId: agent?.record.instanceId ?? '',
    oldSessionEpoch: agent?.record.sessionEpoch ?? 0n,
  });
}
