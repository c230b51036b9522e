import type { Caller } from '../domain/agent/caller.ts';
import type { CallContext } from './service.ts';

/** Who calls, as the domain needs to know. */
export const callerOf = ({ principal }: CallContext): Caller => ({
  principal: principal.name,
  token: principal.token,
});
