import {
  type AgentSpec,
  type Relationship,
  Relationship_Type,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { DirectoryListener, KnownAgent } from '../directory.ts';
import { agentOf } from '../record.ts';

/** The agent that restarts this one. */
export function supervisorOf(spec: AgentSpec | undefined): string | undefined {
  return spec?.relationships.find(({ type }) => type === Relationship_Type.SUPERVISED_BY)?.agentId;
}

const NONE: ReadonlySet<string> = new Set();

/** Who depends on whom, kept as changes come: the relationships of all agents the other way round. */
export class Dependents implements DirectoryListener {
  /** By "namespace/id" of the agent that is needed. */
  readonly #of = new Map<string, Set<string>>();

  changed(before: KnownAgent | undefined, after: KnownAgent | undefined): void {
    const was = relationshipsOf(before);
    const is = relationshipsOf(after);
    if (was === is || (was.length === 0 && is.length === 0)) return;
    const agent = after ?? before;
    if (agent === undefined) return;
    for (const needed of needs(was)) this.#remove(`${agent.namespace}/${needed}`, agent.id);
    for (const needed of needs(is)) this.#add(`${agent.namespace}/${needed}`, agent.id);
  }

  /** Ids of the agents that declared to depend on this one. */
  of(namespace: string, agentId: string): ReadonlySet<string> {
    return this.#of.get(`${namespace}/${agentId}`) ?? NONE;
  }

  #add(needed: string, agentId: string): void {
    const dependents = this.#of.get(needed);
    if (dependents === undefined) this.#of.set(needed, new Set([agentId]));
    else dependents.add(agentId);
  }

  #remove(needed: string, agentId: string): void {
    const dependents = this.#of.get(needed);
    dependents?.delete(agentId);
    if (dependents?.size === 0) this.#of.delete(needed);
  }
}

const NO_RELATIONSHIPS: readonly Relationship[] = [];

const relationshipsOf = (known: KnownAgent | undefined): readonly Relationship[] =>
  (known && agentOf(known.record).spec?.relationships) ?? NO_RELATIONSHIPS;

const needs = (relationships: readonly Relationship[]): string[] =>
  relationships.filter(({ type }) => type === Relationship_Type.DEPENDS_ON).map(({ agentId }) => agentId);
