import type { AgentDirectory } from './directory.ts';
import { claimOf, hashToken, knowsToken, type TokenClaim } from './token.ts';

/** Who calls, as far as the agents' registry needs to know. */
export interface Caller {
  /** Whom the token names, or "anonymous". A claim: see `actorOf`. */
  principal: string;
  token: string | undefined;
  /** The agent that it is for certain, because it speaks in its own session. */
  agent?: TokenClaim;
}

/** Who stands in events as the one who did it: the name in a token counts only if the token is that agent's. */
export function actorOf({ principal, token, agent }: Caller, directory: AgentDirectory): string {
  if (token === undefined || agent !== undefined) return principal;
  const claim = claimOf(token);
  const known = claim && directory.get(claim.namespace, claim.agentId);
  const proven = known !== undefined && knowsToken(known.record.tokenHashes, hashToken(token));
  return proven ? principal : 'anonymous';
}
