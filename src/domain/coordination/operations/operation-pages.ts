import { create } from '@bufbuild/protobuf';
import {
  type AgentOutcome,
  type AgentOutcome_State,
  AgentOutcomeSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type {
  OperationAgentRecord,
  OperationRecord,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Store } from '../../../state/store.ts';
import {
  agentsPrefix,
  decodeOutcome,
  decodeWho,
  operationEntry,
  operationOf,
  outcomeKey,
  stateOf,
  WHO_CHUNK,
  waveOf,
  whoKey,
} from './operation-record.ts';

/** An agent of an operation, as the store has it. */
export interface StoredAgent {
  place: number;
  outcome: AgentOutcome;
  /** Whether its turn has come, and at which revision that was stored; 0n: it has not. */
  revision: bigint;
}

/** An agent as callers see it. */
export function publicOutcome(
  record: OperationRecord,
  place: number,
  agentId: string,
  stored: OperationAgentRecord | undefined,
): AgentOutcome {
  const outcome = Object.assign(create(AgentOutcomeSchema), stored?.outcome, {
    agentId,
    wave: waveOf(record, place),
    state: stateOf(record, stored),
  });
  return outcome;
}

/**
 * A page of an operation's agents in the order of their turns, read from the store. It ends where an entry of the list of
 * agents ends, or when it has `size` of those wanted.
 * @param from the place that it begins with
 * @returns `next`: the place where it goes on; undefined: there are no more
 */
export async function readAgents(
  store: Store,
  namespace: string,
  operation: { id: string; record: OperationRecord },
  page: { from: number; size: number; states?: ReadonlySet<AgentOutcome_State> },
): Promise<{ agents: StoredAgent[]; next: number | undefined }> {
  const { id, record } = operation;
  const { from, size, states } = page;
  const total = operationOf(record).agents;
  const agents: StoredAgent[] = [];
  if (from >= total) return { agents, next: undefined };
  const chunk = Math.floor(from / WHO_CHUNK);
  const end = Math.min(total, (chunk + 1) * WHO_CHUNK);
  const [who, outcomes] = await Promise.all([
    store.get(namespace, whoKey(id, chunk)),
    store.scan(namespace, {
      prefix: agentsPrefix(id),
      limit: end - from,
      ...(from === 0 ? {} : { after: outcomeKey(id, from - 1) }),
    }),
  ]);
  const ids = who === undefined ? [] : decodeWho(who.value).agentIds;
  const stored = new Map(
    outcomes.entries.map(({ key, value, revision }) => {
      const entry = operationEntry(key);
      return [entry?.kind === 'outcome' ? entry.place : -1, { record: decodeOutcome(value), revision }];
    }),
  );
  for (let place = from; place < end; place += 1) {
    if (agents.length === size) return { agents, next: place };
    const known = stored.get(place);
    const outcome = publicOutcome(record, place, ids[place % WHO_CHUNK] ?? '', known?.record);
    if (states !== undefined && states.size > 0 && !states.has(outcome.state)) continue;
    agents.push({ place, outcome, revision: known?.revision ?? 0n });
  }
  return { agents, next: end < total ? end : undefined };
}
