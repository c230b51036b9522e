import {
  type Affinity,
  AffinitySchema,
  type Placement,
  Placement_StrategySchema,
  PlacementSchema,
  ScopeSchema,
  type Spread,
  SpreadSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { LabelSelectorError, parseLabelSelector } from '../agent/label-selector.ts';
import { atMost, known } from './numbers.ts';
import { anything, list, map, message, type Rule } from './rules.ts';
import { agentId, line, pathName, word } from './text.ts';

const MOST = BigInt(Number.MAX_SAFE_INTEGER);

/** Sums of quantities are reckoned in doubles, which are exact below 2^53. */
const quantity: Rule<bigint> = (violations, value) => {
  if (value < 1n || value > MOST) violations.add(`is ${value}; 1 to 2^53 - 1 is allowed`);
};

/** What is wanted of an agent, by resource. */
export const quantities = map<bigint>({ max: 16, key: pathName(64), value: quantity });
/** What may be spent, by budget. */
export const budgets = quantities;

/** A label selector, or empty. */
export const labelSelector: Rule<string> = (violations, text) => {
  try {
    parseLabelSelector(text);
  } catch (error) {
    if (!(error instanceof LabelSelectorError)) throw error;
    violations.add(error.message);
  }
};

const group = (empty: 'allowed' | 'refused') =>
  word({ max: 128, empty, pattern: /^[A-Za-z0-9._/-]+$/, allowed: 'of characters [A-Za-z0-9._/-]' });
const scope = known(ScopeSchema, 'allowed');

const affinity: Rule<Affinity> = message(
  AffinitySchema,
  { group: group('refused'), scope, apart: anything, required: anything, weight: atMost(100) },
  (violations, { required, weight }) => {
    if (required && weight !== 0)
      violations.addAt('weight', 'is allowed with a wish only, not with required');
  },
);

const spread: Rule<Spread> = message(SpreadSchema, { scope, maxSkew: anything, required: anything });

/** Which agents may be chosen. */
export const placement: Rule<Placement> = message(PlacementSchema, {
  capabilityVersion: line(64),
  selector: labelSelector,
  agentIds: list({ max: 64, item: agentId, distinct: (id) => id }),
  notAgentIds: list({ max: 64, item: agentId, distinct: (id) => id }),
  strategy: known(Placement_StrategySchema, 'allowed'),
  affinities: list({ max: 8, item: affinity }),
  // An absent scope is an agent.
  spreads: list({ max: 2, item: spread, distinct: ({ scope: over }) => String(over || 1) }),
  maxPerAgent: anything,
  group: group('allowed'),
});
