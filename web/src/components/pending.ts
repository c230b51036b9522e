import { PendingReason } from '../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';

/** Why something waits, for people. */
export const PENDING: Readonly<Record<number, string>> = {
  [PendingReason.NO_CAPABILITY]: 'no agent has the capability',
  [PendingReason.CONSTRAINTS]: 'constraints exclude every agent',
  [PendingReason.TOO_LARGE]: 'too large for every agent',
  [PendingReason.AGENTS_AWAY]: 'the agents for it are away',
  [PendingReason.NO_ROOM]: 'no room',
  [PendingReason.QUOTA]: 'a quota is used up',
  [PendingReason.BUDGET]: 'a budget is used up',
  [PendingReason.BACKOFF]: 'pauses after a failure',
  [PendingReason.ORDERING_KEY]: 'an earlier one of its key is not finished',
  [PendingReason.DECLINED]: 'every agent declined of late',
  [PendingReason.AGENT_LOST]: 'its agent may come back',
  [PendingReason.TURN]: 'others are before it',
  [PendingReason.NEW]: 'just stored',
};

export const pendingWord = (reason: PendingReason | undefined): string =>
  reason === undefined ? '' : (PENDING[reason] ?? 'waits');
