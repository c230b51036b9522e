import { Agent_Phase } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { FailuresConfig } from '../../../config/config.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { AgentDirectory, DirectoryListener, KnownAgent } from '../directory.ts';
import { isAttached } from '../liveness.ts';
import { agentOf } from '../record.ts';
import type { CommonCauses } from './common-cause.ts';
import { type Need, needsOf } from './needs.ts';
import { type Policy, policyOf } from './policy.ts';
import { type Dependents, supervisorOf } from './relations.ts';

export interface SurveysOptions {
  directory: AgentDirectory;
  dependents: Dependents;
  causes: CommonCauses;
  failures: FailuresConfig;
  mailboxFull(namespace: string, agentId: string): boolean;
}

/** Looks at an agent together with all that it stands in relation to: what is due about it, and whether that can be done. */
export class Surveys implements DirectoryListener {
  readonly #options: SurveysOptions;
  /** Agents that rules have set aside, and when; by namespace. */
  readonly #setAside = new Map<string, Map<string, number>>();

  constructor(options: SurveysOptions) {
    this.#options = options;
    options.directory.listen(this);
  }

  changed(before: KnownAgent | undefined, after: KnownAgent | undefined): void {
    const agent = after ?? before;
    if (agent === undefined) return;
    const quarantine = after && agentOf(after.record).quarantine;
    const byRule = quarantine?.actor.startsWith('rule:') === true && quarantine.startTime !== undefined;
    const times = this.#setAside.get(agent.namespace);
    if (byRule && after !== undefined && agentOf(after.record).phase === Agent_Phase.QUARANTINED) {
      const known = times ?? new Map<string, number>();
      if (quarantine.startTime !== undefined) known.set(agent.id, msFromTimestamp(quarantine.startTime));
      this.#setAside.set(agent.namespace, known);
    } else if (times?.delete(agent.id) && times.size === 0) {
      this.#setAside.delete(agent.namespace);
    }
  }

  /** How many agents of a namespace rules have set aside since, and are so still. */
  quarantinedSince(namespace: string, sinceMs: number): number {
    let count = 0;
    for (const startMs of this.#setAside.get(namespace)?.values() ?? []) if (startMs > sinceMs) count += 1;
    return count;
  }

  policy({ record }: KnownAgent): Policy {
    return policyOf(agentOf(record).spec, this.#options.failures);
  }

  needs(known: KnownAgent, storeMs: number): Need[] {
    const { dependents, causes } = this.#options;
    const { namespace, id, record } = known;
    return needsOf({
      record,
      policy: this.policy(known),
      storeMs,
      supervisor: supervisorOf(agentOf(record).spec),
      hasDependents: dependents.of(namespace, id).size > 0,
      isOneOfMany: (timeMs) => causes.isOneOfMany(namespace, id, timeMs),
    });
  }

  /** Its time has come, and nothing else is waited for. */
  isDue(known: KnownAgent, need: Need, storeMs: number): boolean {
    return need.dueMs <= storeMs && this.waitsFor(known, need) === undefined;
  }

  /** What else is waited for, in words. */
  waitsFor({ namespace }: KnownAgent, need: Need): string | undefined {
    if (need.kind !== 'order_restart') return undefined;
    const { directory, mailboxFull } = this.#options;
    const supervisor = directory.get(namespace, need.supervisor);
    // An order that nobody reads would count as one in vain.
    if (supervisor === undefined || !isAttached(agentOf(supervisor.record).liveness)) {
      return `its supervisor ${need.supervisor} is not attached`;
    }
    return mailboxFull(namespace, need.supervisor) ? `the mailbox of ${need.supervisor} is full` : undefined;
  }
}
