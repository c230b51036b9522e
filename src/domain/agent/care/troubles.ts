import { Agent_Liveness, Agent_Phase } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { AgentDirectory, DirectoryListener, KnownAgent } from '../directory.ts';
import { agentOf } from '../record.ts';
import type { Trouble } from './brake.ts';

/** The label that names an agent's failure domain. */
export const ZONE_LABEL = 'topology.kubernetes.io/zone';

export const zoneOf = (record: AgentRecord): string => agentOf(record).spec?.labels[ZONE_LABEL] ?? '';

/** How an agent counts: there, in trouble, or not expected to be there. */
export type Standing = 'well' | 'failing' | 'out';

/** A loss is dealt with once its consequences are stored. */
export const isHandled = (record: AgentRecord): boolean => record.lossHandledEpoch === record.sessionEpoch;

export function standingOf(record: AgentRecord, liveness = agentOf(record).liveness): Standing {
  if (agentOf(record).phase === Agent_Phase.STOPPED) return 'out';
  switch (liveness) {
    case Agent_Liveness.CONNECTED:
      return 'well';
    case Agent_Liveness.SUSPECT:
    case Agent_Liveness.DISCONNECTED:
      return 'failing';
    case Agent_Liveness.LOST:
      return isHandled(record) ? 'out' : 'failing';
    default:
      return 'out';
  }
}

/** What a verdict says of the fleet at its moment. */
export interface TroubleEvidence {
  /** Shares in trouble, 0..1. */
  shareInTrouble: number;
  zoneShareInTrouble: number;
  /** Agents that the first share is of. */
  agents: number;
}

interface Counted {
  zone: string;
  standing: Standing;
}

interface NamespaceTroubles {
  all: Trouble;
  zones: Map<string, Trouble>;
  byId: Map<string, Counted>;
}

const none = (): Trouble => ({ failing: 0, agents: 0 });
const share = ({ failing, agents }: Trouble): number => (agents === 0 ? 0 : failing / agents);

/**
 * How many agents are in trouble, by namespace and zone: counted as changes come, so that every verdict can say it. Also
 * counts what was judged here and is not stored yet: of a mass failure the verdicts come before their commits.
 */
export class Troubles implements DirectoryListener {
  readonly #directory: Pick<AgentDirectory, 'get'>;
  readonly #namespaces = new Map<string, NamespaceTroubles>();
  readonly #everywhere = none();

  constructor(options: { directory: AgentDirectory }) {
    this.#directory = options.directory;
    options.directory.listen(this);
  }

  changed(before: KnownAgent | undefined, after: KnownAgent | undefined): void {
    const agent = after ?? before;
    if (agent === undefined) return;
    this.#count(
      agent.namespace,
      agent.id,
      after && { zone: zoneOf(after.record), standing: standingOf(after.record) },
    );
  }

  /** An agent was judged; counts until its record says otherwise. */
  judged(namespace: string, agentId: string, liveness: Agent_Liveness): void {
    const known = this.#directory.get(namespace, agentId);
    if (known === undefined) return;
    const standing = standingOf(known.record, liveness);
    this.#count(namespace, agentId, { zone: zoneOf(known.record), standing });
  }

  /** The judgement is stored, or was dropped: the record counts again. */
  settled(namespace: string, agentId: string): void {
    const known = this.#directory.get(namespace, agentId);
    if (known !== undefined) this.changed(undefined, known);
  }

  /** A loss of long ago that waits for nothing but its own time is no part of a mass failure of now. */
  leaveOut({ namespace, id, record }: KnownAgent): void {
    this.#count(namespace, id, { zone: zoneOf(record), standing: 'out' });
  }

  /** All namespaces together. */
  everywhere(): Trouble {
    return this.#everywhere;
  }

  of(namespace: string): Trouble {
    return this.#namespaces.get(namespace)?.all ?? none();
  }

  /** The zones of a namespace; agents without one are in none. */
  zones(namespace: string): ReadonlyMap<string, Trouble> {
    return this.#namespaces.get(namespace)?.zones ?? new Map();
  }

  evidence(namespace: string, agentId: string): TroubleEvidence {
    const troubles = this.#namespaces.get(namespace);
    if (troubles === undefined) return { shareInTrouble: 0, zoneShareInTrouble: 0, agents: 0 };
    const zone = troubles.zones.get(troubles.byId.get(agentId)?.zone ?? '');
    return {
      shareInTrouble: share(troubles.all),
      zoneShareInTrouble: zone === undefined ? 0 : share(zone),
      agents: troubles.all.agents,
    };
  }

  #count(namespace: string, agentId: string, now: Counted | undefined): void {
    let troubles = this.#namespaces.get(namespace);
    if (troubles === undefined) {
      if (now === undefined) return;
      troubles = { all: none(), zones: new Map(), byId: new Map() };
      this.#namespaces.set(namespace, troubles);
    }
    const before = troubles.byId.get(agentId);
    if (before?.standing === now?.standing && before?.zone === now?.zone) return;
    if (before !== undefined) this.#add(troubles, before, -1);
    if (now !== undefined) {
      this.#add(troubles, now, 1);
      troubles.byId.set(agentId, now);
      return;
    }
    troubles.byId.delete(agentId);
    if (troubles.byId.size === 0) this.#namespaces.delete(namespace);
  }

  #add(troubles: NamespaceTroubles, { zone, standing }: Counted, by: 1 | -1): void {
    if (standing === 'out') return;
    const counts = [troubles.all, this.#everywhere];
    if (zone !== '') {
      const counted = troubles.zones.get(zone) ?? none();
      troubles.zones.set(zone, counted);
      counts.push(counted);
    }
    for (const count of counts) {
      count.agents += by;
      if (standing === 'failing') count.failing += by;
    }
    if (zone !== '' && troubles.zones.get(zone)?.agents === 0) troubles.zones.delete(zone);
  }
}
