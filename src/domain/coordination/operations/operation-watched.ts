import { isOut, stateOf } from './operation-record.ts';
import type { KnownOperation } from './operation-view.ts';

/** The agents of which news matter to an operation: those whose command is out, and in whose mailbox it is. */
export class Watched {
  readonly #namespaces = new Map<string, Set<string>>();

  has(namespace: string, agentId: string): boolean {
    return this.#namespaces.get(namespace)?.has(agentId) ?? false;
  }

  set(namespace: string, operations: readonly KnownOperation[]): void {
    const agents = new Set<string>();
    for (const { record, outcomes } of operations) {
      for (const { record: outcome } of outcomes.values()) {
        if (!isOut(stateOf(record, outcome))) continue;
        agents.add(outcome.outcome?.agentId ?? '').add(outcome.mailboxAgentId);
      }
    }
    if (agents.size === 0) this.#namespaces.delete(namespace);
    else this.#namespaces.set(namespace, agents);
  }
}
