import type { Placement } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { Amounts } from '../amounts.ts';
import type { WantClass } from './want-class.ts';

/** Which of the agents that fit; as the configuration says it. */
export type Strategy = 'binpack' | 'spread' | 'least_loaded';

/** An agent that may have work. */
export interface PoolAgent {
  id: string;
  /** Tells an agent from an earlier one with the same id. */
  uid: string;
  labels: Readonly<Record<string, string>>;
  /** The label "zone"; "": none. */
  zone: string;
  capabilities: readonly { name: string; version: string }[];
  /** As declared; without "slots" it has as many as are configured. */
  capacity: Amounts;
  /** Whether it may be given work now. */
  available: boolean;
  /** Why not: its liveness ("SUSPECT", "DISCONNECTED"…), or what else is in the way ("draining"). */
  unavailableWhy: string;
}

/** Something that takes room. */
export interface Hold {
  agentId: string;
  resources: Amounts;
  group: string;
  kind: 'task' | 'allocation';
}

/** What something needs of an agent. */
export interface Want {
  /** "": any agent. */
  capability: string;
  placement: Placement | undefined;
  /** All of it: implicit slots are in it already (withSlots). */
  resources: Amounts;
  /** Absent or "": that of the placement, else the capability. */
  group?: string;
}

/** What narrows a decision for one task or allocation. */
export interface ChooseOptions {
  /** Agents that it does not go to (they declined it). */
  exclude?: ReadonlySet<string> | undefined;
  /** Agents that are kept free, each with the key of what it is kept free for. */
  keptFree?: ReadonlyMap<string, string> | undefined;
  /** Its own key: agents that are kept free for it count as free. */
  forKey?: string | undefined;
}

/** A decision. */
export interface Choice {
  agentId: string;
  /** 0 to 1. */
  score: number;
  /** Agents that fit. */
  fitting: number;
  /** Agents that could have it if they were empty and there. */
  eligible: number;
}

/** What is supposed. */
export interface PoolWhatIf {
  drained: ReadonlySet<string>;
  /** In place of all that the agents declare. */
  capacities: ReadonlyMap<string, Amounts>;
}

export interface ExplainOptions {
  /** Agents that declined it, with why. */
  exclude?: ReadonlyMap<string, string> | undefined;
  keptFree?: ReadonlyMap<string, string> | undefined;
  forKey?: string | undefined;
  whatIf?: PoolWhatIf | undefined;
}

/** Is told, synchronously, when something may fit that did not. It must not change the pool meanwhile. */
export interface PoolListener {
  /** On this agent: room came free there, or it came, changed or became available. */
  room(agentId: string): void;
  /** Anywhere: a count that the class is held by changed, or the fleet that it is spread over. */
  loosened?(wantClass: WantClass): void;
}

/** One resource of an agent, a zone or all. */
export interface ResourceFigures {
  resource: string;
  /** Of zones and all: over the agents that may be given work. */
  capacity: number;
  /** The same with over-commit. */
  reservable: number;
  reserved: number;
  /** What is reported; undefined: nobody reports it. */
  used: number | undefined;
  /** Agents that report it. */
  usedAgents: number;
  /** When the oldest of those reports came, as told to setLoad; undefined: nobody reports it, or no time was told. */
  usedOldestMs: number | undefined;
  /** What is reserved beyond what may be, summed over agents. */
  excess: number;
}

export interface AgentFigures {
  agentId: string;
  zone: string;
  /** By name. */
  resources: ResourceFigures[];
  tasks: number;
  allocations: number;
  available: boolean;
  unavailableWhy: string;
}

export interface ZoneFigures {
  zone: string;
  resources: ResourceFigures[];
  agents: number;
}

export interface PoolUsage {
  total: ResourceFigures[];
  /** By name. */
  zones: ZoneFigures[];
  /** By id. */
  agents: AgentFigures[];
}
