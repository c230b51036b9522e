import {
  type Placement,
  Placement_Strategy,
  Scope,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { CandidateSet } from './candidates.ts';
import type { Strategy, Want } from './types.ts';

/** What a wish counts that does not say it; the strategy counts as much. */
export const USUAL_WEIGHT = 50;

export interface WantedNearness {
  readonly group: string;
  readonly byZone: boolean;
  readonly apart: boolean;
  readonly required: boolean;
  readonly weight: number;
}

export interface WantedSpread {
  readonly byZone: boolean;
  readonly maxSkew: number;
  readonly required: boolean;
}

export interface WantedAmount {
  readonly name: string;
  readonly amount: number;
}

/** All wants of the same content, as the pool sees them. Others take it as a handle. */
export class WantClass {
  /** Equal for equal wants. */
  readonly key: string;
  readonly want: Want;
  readonly group: string;
  readonly strategy: Strategy;
  readonly maxPerAgent: number;
  readonly nearness: readonly WantedNearness[];
  readonly spreads: readonly WantedSpread[];
  /** Above 0, by name. */
  readonly needs: readonly WantedAmount[];
  readonly candidates: CandidateSet;
  /** Whether counts of groups may keep it from an agent. */
  readonly counted: boolean;
  readonly spreadRequired: boolean;
  /** How many have asked for it and not released it. */
  users = 0;

  constructor(options: { key: string; want: Want; candidates: CandidateSet; defaultStrategy: Strategy }) {
    const { key, want, candidates, defaultStrategy } = options;
    const { placement } = want;
    this.key = key;
    this.want = want;
    this.candidates = candidates;
    this.group = groupOf(want);
    this.strategy = strategyOf(placement) ?? defaultStrategy;
    this.maxPerAgent = placement?.maxPerAgent ?? 0;
    this.nearness = (placement?.affinities ?? []).map(({ group, scope, apart, required, weight }) => ({
      ...{ group, apart, required },
      byZone: scope === Scope.ZONE,
      weight: weight === 0 ? USUAL_WEIGHT : weight,
    }));
    this.spreads = (placement?.spreads ?? []).map(({ scope, maxSkew, required }) => ({
      byZone: scope === Scope.ZONE,
      maxSkew: maxSkew === 0 ? 1 : maxSkew,
      required,
    }));
    this.needs = needsOf(want);
    this.spreadRequired = this.spreads.some(({ required }) => required);
    this.counted =
      this.maxPerAgent > 0 || this.spreadRequired || this.nearness.some(({ required }) => required);
  }
}

/** The group in which something is counted. */
export function groupOf(want: Pick<Want, 'group' | 'capability' | 'placement'>): string {
  return want.group || want.placement?.group || want.capability;
}

function needsOf(want: Want): WantedAmount[] {
  return Object.entries(want.resources)
    .filter(([, amount]) => amount > 0)
    .map(([name, amount]) => ({ name, amount }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function strategyOf(placement: Placement | undefined): Strategy | undefined {
  switch (placement?.strategy) {
    case Placement_Strategy.BINPACK:
      return 'binpack';
    case Placement_Strategy.SPREAD:
      return 'spread';
    case Placement_Strategy.LEAST_LOADED:
      return 'least_loaded';
    default:
      return undefined;
  }
}

/** Which agents come into question, whatever there is on them: the same for wants that differ in all else. */
export function filterKey({ capability, placement }: Want): string {
  if (placement === undefined) return JSON.stringify([capability, '', '', [], []]);
  const { capabilityVersion, selector, agentIds, notAgentIds } = placement;
  return JSON.stringify([
    capability,
    capabilityVersion,
    selector,
    agentIds.toSorted(),
    notAgentIds.toSorted(),
  ]);
}

export function classKey(want: Want): string {
  const { placement } = want;
  return JSON.stringify([
    filterKey(want),
    groupOf(want),
    needsOf(want).map(({ name, amount }) => [name, amount]),
    placement?.strategy ?? 0,
    placement?.maxPerAgent ?? 0,
    (placement?.affinities ?? []).map((a) => [a.group, a.scope, a.apart, a.required, a.weight]),
    (placement?.spreads ?? []).map((s) => [s.scope, s.maxSkew, s.required]),
  ]);
}
