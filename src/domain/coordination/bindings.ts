import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../lib/errors.ts';
import type { Store } from '../../state/store.ts';
import { storeEpochOf } from '../agent/attach.ts';
import type { Caller } from '../agent/caller.ts';
import type { AgentDirectory, KnownAgent } from '../agent/directory.ts';
import { notStoredYet, superseded, tokenMissing } from '../agent/errors.ts';
import { loadAgent } from '../agent/load.ts';
import { agentOf } from '../agent/record.ts';
import { claimOf, hashToken, knowsToken } from '../agent/token.ts';

/** To which attachment of which agent something is bound. */
export interface Binding {
  agentId: string;
  /** The process behind the session; empty where the agent names none. */
  instanceId: string;
  epoch: bigint;
}

/** The agent in whose session something is asked for. */
export interface SessionCaller {
  known: KnownAgent;
  binding: Binding;
}

/**
 * The agent whose session a call is made for, as the store has it; undefined for a call without one.
 * @param directory where to look first: what is found there must be checked by the commit
 * @throws DomainError TOKEN_INVALID, EPOCH_STALE, SESSION_SUPERSEDED, CONTENTION (the store may have fallen back to before
 *   this session: it is told again of those that go on)
 */
export async function sessionCaller(
  store: Store,
  namespace: string,
  caller: Caller,
  sessionEpoch: bigint,
  directory?: AgentDirectory,
): Promise<SessionCaller | undefined> {
  if (sessionEpoch === 0n) return undefined;
  const { token, agent } = caller;
  const claim = agent ?? (token === undefined ? undefined : claimOf(token));
  if (token === undefined || claim === undefined) throw tokenMissing();
  if (claim.namespace !== namespace) {
    throw new DomainError({
      reason: ErrorReason.TOKEN_INVALID,
      message: `the token is of an agent in another namespace than ${namespace}`,
    });
  }
  const seen = directory?.get(namespace, claim.agentId);
  const known =
    seen?.record.sessionEpoch === sessionEpoch ? seen : await loadAgent(store, namespace, claim.agentId);
  const proven = agent !== undefined || (known && knowsToken(known.record.tokenHashes, hashToken(token)));
  if (known === undefined || proven !== true) {
    throw new DomainError({
      reason: ErrorReason.TOKEN_INVALID,
      message: 'the token is not that of a registered agent',
    });
  }
  const { sessionEpoch: present, instanceId } = known.record;
  if (present > sessionEpoch) throw superseded();
  if (present !== sessionEpoch) {
    const mayBeLost = storeEpochOf(sessionEpoch) < store.status().epoch;
    throw mayBeLost ? notStoredYet() : staleEpoch(known.id, sessionEpoch);
  }
  const { liveness } = agentOf(known.record);
  if (liveness === Agent_Liveness.LOST || liveness === Agent_Liveness.LEFT)
    throw staleEpoch(known.id, sessionEpoch);
  return { known, binding: { agentId: known.id, instanceId, epoch: sessionEpoch } };
}

const staleEpoch = (agentId: string, epoch: bigint): DomainError =>
  new DomainError({
    reason: ErrorReason.EPOCH_STALE,
    message: `${epoch} is not the epoch of a session that agent ${agentId} has now; attach again`,
  });

/**
 * Why what is bound to an agent's session is to be let go now; undefined: it holds. A loss is not among the reasons: it has its
 * consequences when it is dealt with (LossHook), behind the brake. Pure.
 * @param known the agent as it is now; undefined: deregistered
 */
export function endOfBinding(binding: Binding, known: KnownAgent | undefined): string | undefined {
  if (known === undefined) return 'the agent was deregistered';
  const { sessionEpoch, instanceId } = known.record;
  // The view lags behind the binding.
  if (sessionEpoch < binding.epoch) return undefined;
  const sameProcess =
    sessionEpoch === binding.epoch || (binding.instanceId !== '' && instanceId === binding.instanceId);
  if (!sameProcess) return 'another process of the agent has attached';
  return agentOf(known.record).liveness === Agent_Liveness.LEFT ? 'the agent has left' : undefined;
}
