import type { Agent } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type {
  Amount,
  OperationSpec,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { msFromDuration } from '../../../lib/proto-time.ts';
import { limitReached } from '../../agent/errors.ts';
import { MAX_AGENTS } from './operation-record.ts';

const DEFAULT_TIMEOUT_MS = 300_000;

/** Whom an operation concerns and how it goes about it. */
export interface Plan {
  /** In the order of their turns. */
  who: string[];
  waveSize: number;
  waves: number;
  maxInFlight: number;
  maxErrors: number;
  agentTimeoutMs: number;
}

export interface Candidate {
  id: string;
  agent: Agent;
}

/**
 * Settles whom an operation concerns. Pure. Agents that are named have their turn in the order in which they are, all others
 * by their id.
 * @throws DomainError AGENT_NOT_FOUND, NO_RECEIVER, LIMIT_REACHED
 */
export function planOperation(
  spec: OperationSpec,
  candidates: Iterable<Candidate>,
  matches: (agent: Agent) => boolean,
): Plan {
  const named = new Set(spec.agentIds);
  const found = new Set<string>();
  const picked: string[] = [];
  for (const { id, agent } of candidates) {
    if (named.size > 0 && !named.has(id)) continue;
    found.add(id);
    if (spec.filter === undefined || matches(agent)) picked.push(id);
  }
  const missing = spec.agentIds.filter((id) => !found.has(id));
  if (missing.length > 0) throw notThere(missing);
  if (picked.length === 0) throw nobody();
  if (picked.length > MAX_AGENTS) {
    throw limitReached(`${picked.length} agents match; an operation may concern ${MAX_AGENTS} at most`);
  }
  const chosen = new Set(picked);
  const who = named.size > 0 ? spec.agentIds.filter((id) => chosen.has(id)) : picked.sort();
  const waveSize = Math.min(who.length, Math.max(1, amountOf(spec.wave, who.length) ?? who.length));
  return {
    who,
    waveSize,
    waves: Math.ceil(who.length / waveSize),
    maxInFlight: Math.min(waveSize, Math.max(1, amountOf(spec.maxInFlight, who.length) ?? waveSize)),
    maxErrors: amountOf(spec.maxErrors, who.length) ?? 0,
    agentTimeoutMs: spec.agentTimeout === undefined ? DEFAULT_TIMEOUT_MS : msFromDuration(spec.agentTimeout),
  };
}

/** How many of `agents` an amount is; undefined: it is absent. A share is rounded up. */
export function amountOf(amount: Amount | undefined, agents: number): number | undefined {
  switch (amount?.amount.case) {
    case 'count':
      return amount.amount.value;
    case 'percent':
      // 7 % of 100 is 7, although 0.07 * 100 is a little more.
      return Math.ceil(Number(((amount.amount.value * agents) / 100).toPrecision(12)));
    default:
      return undefined;
  }
}

function notThere(missing: readonly string[]): DomainError {
  const names = missing.slice(0, 5).join(', ');
  const more = missing.length > 5 ? ` and ${missing.length - 5} more` : '';
  return new DomainError({
    reason: ErrorReason.AGENT_NOT_FOUND,
    message: `not registered: ${names}${more}`,
  });
}

const nobody = (): DomainError =>
  new DomainError({ reason: ErrorReason.NO_RECEIVER, message: 'no agent matches: there is nothing to do' });
