import type { ClientLogger } from './options.ts';
import type { AgentTransport } from './transport.ts';

export interface AgentDeps {
  /** A fresh connection. */
  createTransport: () => AgentTransport;
  /** Uniform in [0, 1). */
  random: () => number;
  /** Calls back when the present turn of the event loop is over. Without it, deliveries do not wait for that. */
  afterTurn?: (then: () => void) => void;
}

export const silent: ClientLogger = { debug: () => {}, info: () => {}, warn: () => {} };
