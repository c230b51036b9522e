import type { BrakeConfig } from '../../../config/config.ts';

/** How many of the agents that should be there are in trouble. */
export interface Trouble {
  /** SUSPECT, DISCONNECTED, or LOST and not dealt with. */
  failing: number;
  /** These and the CONNECTED ones. */
  agents: number;
}

/** A zone of a namespace, or (zone "") all of it. */
export interface Scope extends Trouble {
  zone: string;
  /** Agents that are LOST since the brake was set and have been dealt with: they did not come back. */
  gone: number;
  /** Agents that are LOST and wait to be dealt with. */
  waiting: number;
}

/** A brake that is set. */
export interface SetBrake {
  zone: string;
  /** Since when, by the store's clock, milliseconds. */
  startMs: number;
  /** The figures that set it. */
  failing: number;
  agents: number;
  threshold: number;
}

export interface BrakesInput {
  set: readonly SetBrake[];
  /** All zones that have agents, and the namespace as a whole. */
  scopes: readonly Scope[];
  /** All namespaces together: a failure of many small ones is a mass failure too. */
  everywhere: Trouble & { gone: number };
  config: Pick<BrakeConfig, 'share' | 'minFailures'>;
  storeMs: number;
  /** Brakes are lifted, but none is set (agents are being collected after a start). */
  collecting: boolean;
}

export interface BrakesDecision {
  /** Those that are set from now on. */
  brakes: SetBrake[];
  newly: SetBrake[];
  lifted: SetBrake[];
}

/** A brake is lifted below this part of what sets it, so that it does not flap. */
const LIFTED_BELOW = 0.8;

/** Too large a share failed at once to take each failure for its own. */
export function isMassFailure(
  { failing, agents }: Trouble,
  { share, minFailures }: Pick<BrakeConfig, 'share' | 'minFailures'>,
): boolean {
  return failing >= minFailures && agents > 0 && failing / agents >= share;
}

/**
 * Which brakes are set. Pure. Losses that were dealt with leave `failing` and `agents`, so they are counted beside them:
 * what lifts a brake is that agents come back, not that the confirmed ones were worked off; or that nothing is left.
 */
export function decideBrakes(input: BrakesInput): BrakesDecision {
  const { set, scopes, everywhere, config, storeMs, collecting } = input;
  const everywhereOver = isMassFailure(everywhere, config);
  const everywhereCalm = isCalm({ ...everywhere, waiting: everywhere.failing }, config);
  const decision: BrakesDecision = { brakes: [], newly: [], lifted: [] };
  const zones = new Map(scopes.map((scope) => [scope.zone, scope]));
  for (const brake of set) {
    const scope = zones.get(brake.zone) ?? { zone: brake.zone, failing: 0, agents: 0, gone: 0, waiting: 0 };
    const nothingLeft = scope.failing === 0;
    const calm = isCalm(scope, config) && (brake.zone !== '' || everywhereCalm || nothingLeft);
    (calm ? decision.lifted : decision.brakes).push(brake);
  }
  if (collecting) return decision;
  for (const scope of scopes) {
    if (set.some(({ zone }) => zone === scope.zone)) continue;
    const own = isMassFailure(scope, config);
    const shared = scope.zone === '' && everywhereOver && scope.failing > 0;
    if (!own && !shared) continue;
    const { failing, agents } = own ? scope : everywhere;
    const brake = { zone: scope.zone, startMs: storeMs, failing, agents, threshold: config.share };
    decision.newly.push(brake);
    decision.brakes.push(brake);
  }
  return decision;
}

function isCalm(
  { failing, agents, gone, waiting }: Omit<Scope, 'zone'>,
  { share, minFailures }: Pick<BrakeConfig, 'share' | 'minFailures'>,
): boolean {
  if (failing + gone < LIFTED_BELOW * share * (agents + gone)) return true;
  // Those that did not come back do not hold the brake for ever.
  return waiting === 0 && failing < LIFTED_BELOW * minFailures;
}
