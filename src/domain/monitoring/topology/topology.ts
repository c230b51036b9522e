import { create } from '@bufbuild/protobuf';
import { Agent_Liveness, Agent_Phase } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type GetTopologyRequest,
  type GetTopologyResponse,
  GetTopologyResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Views } from '../../../state/views.ts';
import { ZONE_LABEL } from '../../agent/care/troubles.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { matches, parseLabelSelector } from '../../agent/label-selector.ts';
import { isAttached } from '../../agent/liveness.ts';
import { agentOf } from '../../agent/record.ts';
import type { LinkCounts } from '../../coordination/traffic/link-counts.ts';
import { namespaceOf } from '../../namespaces.ts';
import { inSlices } from '../../resource/rebalance/in-slices.ts';
import { Graph, type Member, type Place } from './graph.ts';

export interface TopologyOptions {
  clock: Clock;
  views: Pick<Views, 'position'>;
  directory: AgentDirectory;
  links: Pick<LinkCounts, 'figures'>;
  /** An agent's health now; undefined: not measured. */
  health(known: KnownAgent): number | undefined;
  /** The store's clock as this replica reckons it, milliseconds. */
  storeMs(): number;
}

/** What is looked at; beside what GetTopology takes, agents by name. */
export type TopologyScope = Pick<GetTopologyRequest, 'namespace' | 'selector' | 'groupBy' | 'maxNodes'> & {
  agentIds?: readonly string[];
};

const DEFAULT_NODES = 500;
const MAX_NODES = 2000;
/** Edges for each node that is shown, on average. */
const EDGES_PER_NODE = 6;
/** Agents or links that are looked at between two looks at the clock. */
const STEP = 64;

const KIND = 'kind';

/** Who depends on whom, as agents declare it, and who talks to whom, as this replica counted it. */
export class Topology {
  readonly #options: TopologyOptions;

  constructor(options: TopologyOptions) {
    this.#options = options;
  }

  get(scope: TopologyScope): Promise<GetTopologyResponse> {
    return inSlices(this.#build(scope), this.#options.clock);
  }

  *#build(scope: TopologyScope): Generator<void, GetTopologyResponse> {
    const { directory, links, storeMs, views } = this.#options;
    const namespace = namespaceOf(scope);
    const maxNodes = Math.min(MAX_NODES, scope.maxNodes === 0 ? DEFAULT_NODES : scope.maxNodes);
    const chosen = this.#chosen(namespace, scope);
    const groupBy = scope.groupBy === '' && chosen.size > maxNodes ? ZONE_LABEL : scope.groupBy;
    const graph = new Graph();
    const members = new Set<string>();
    const placeOf = (id: string): Place => {
      const known = directory.get(namespace, id);
      return known === undefined ? strangerPlace(id) : agentPlace(known, groupBy);
    };
    /** Whom the chosen ones have to do with is shown too. */
    const enter = (id: string): Place => {
      const known = directory.get(namespace, id);
      if (known === undefined) return strangerPlace(id);
      const place = placeOf(id);
      if (!members.has(id)) {
        members.add(id);
        graph.add(place, this.#member(known));
      }
      return place;
    };
    let steps = 0;
    const isTime = (): boolean => {
      steps += 1;
      return steps % STEP === 0;
    };
    for (const known of chosen.values()) {
      enter(known.id);
      if (isTime()) yield;
    }
    for (const known of directory.all(namespace)) {
      if (isTime()) yield;
      for (const { type, agentId } of agentOf(known.record).spec?.relationships ?? []) {
        if (!chosen.has(known.id) && !chosen.has(agentId)) continue;
        const isMissing = directory.get(namespace, agentId) === undefined;
        graph.relate(enter(known.id), enter(agentId), type, isMissing);
      }
    }
    for (const figures of links.figures(namespace, storeMs())) {
      if (isTime()) yield;
      if (!chosen.has(figures.sender) && !chosen.has(figures.receiver)) continue;
      graph.link(enter(figures.sender), enter(figures.receiver), figures);
    }
    yield;
    const { nodes, edges, truncated } = graph.shown(maxNodes, maxNodes * EDGES_PER_NODE);
    return create(GetTopologyResponseSchema, {
      ...{ nodes, edges, truncated, groupBy },
      agents: members.size,
      revision: views.position(namespace).revision,
    });
  }

  #chosen(namespace: string, { selector, agentIds }: TopologyScope): Map<string, KnownAgent> {
    const { directory } = this.#options;
    const chosen = new Map<string, KnownAgent>();
    if (agentIds !== undefined && agentIds.length > 0) {
      for (const id of agentIds) {
        const known = directory.get(namespace, id);
        if (known !== undefined) chosen.set(id, known);
      }
      return chosen;
    }
    const parsed = selector === '' ? undefined : parseLabelSelector(selector);
    for (const known of directory.all(namespace)) {
      if (parsed === undefined || matches(parsed, agentOf(known.record).spec?.labels ?? {}))
        chosen.set(known.id, known);
    }
    return chosen;
  }

  #member(known: KnownAgent): Member {
    const { liveness, phase } = agentOf(known.record);
    const connected = isAttached(liveness);
    const isExpected =
      liveness !== Agent_Liveness.NEVER_SEEN &&
      liveness !== Agent_Liveness.LEFT &&
      phase !== Agent_Phase.STOPPED;
    const health = connected ? this.#options.health(known) : isExpected ? 0 : undefined;
    return { connected, health, liveness };
  }
}

function agentPlace({ id, record }: KnownAgent, groupBy: string): Place {
  const { spec } = agentOf(record);
  const kind = spec?.kind ?? '';
  const zone = spec?.labels[ZONE_LABEL] ?? '';
  if (groupBy === '') return { key: `agent/${id}`, id, name: spec?.displayName ?? '', kind, zone };
  const value = groupBy === KIND ? kind : (spec?.labels[groupBy] ?? '');
  return {
    key: `group/${value}`,
    id: value,
    name: value,
    kind: groupBy === KIND ? kind : '',
    zone: groupBy === ZONE_LABEL ? zone : '',
  };
}

/** No agent has this name: it is awaited, or sends from outside. */
const strangerPlace = (id: string): Place => ({ key: `stranger/${id}`, id, name: '', kind: '', zone: '' });
