import type { AgentDirectory } from './directory.ts';
import { claimOf, hashToken, knowsToken } from './token.ts';

/** Who calls, as far as the agents' registry needs to know. */
export interface Caller {
  /** Whom the token names, or "anonymous". A claim: see `actorOf`. */
  principal: string;
  token: string | undefined;
}

/** Who stands in events as the one who did it: the name in a token counts only if the token is that agent's. */
export function actorOf({ principal, token }: Caller, directory: AgentDirectory): string {
  if (token === undefined) return principal;
  const claim = claimOf(token);
  const known = claim && directory.get(claim.namespace, claim.agentId);
  const proven = known !== undefined && knowsToken(known.record.tokenHashes, hashToken(token));
  return proven ? principal : 'anonymous';
}
