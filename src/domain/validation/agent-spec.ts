import {
  type Activity,
  ActivitySchema,
  type AgentSpec,
  AgentSpecSchema,
  type Capability,
  CapabilitySchema,
  type FailurePolicy,
  FailurePolicy_OnLossSchema,
  FailurePolicySchema,
  type QuarantinePolicy,
  QuarantinePolicySchema,
  type Relationship,
  Relationship_TypeSchema,
  RelationshipSchema,
  type RestartPolicy,
  RestartPolicySchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { FieldViolation } from '../../lib/errors.ts';
import { msFromDuration } from '../../lib/proto-time.ts';
import { Violations } from '../../lib/violations.ts';
import { annotations, labels } from './labels.ts';
import { between, duration, known, notNegative } from './numbers.ts';
import { anything, list, map, message, optional, type Rule } from './rules.ts';
import { agentId, line, mediaType, name, pathName, prose } from './text.ts';

const SECOND = 1000;
const DAY = 24 * 3600 * SECOND;

/** The name of a capability. */
export const capabilityName = pathName(128);
/** The kind of an agent that has one. */
export const kind = name(64, 'refused');

/** Amounts by resource or budget. */
export const amounts = map<bigint>({ max: 64, key: pathName(64), value: notNegative });

const capability: Rule<Capability> = message(CapabilitySchema, {
  name: capabilityName,
  version: line(64),
  description: prose(4096),
  tags: list({ max: 32, item: line(64, { min: 1 }) }),
  inputTypes: list({ max: 32, item: mediaType }),
  outputTypes: list({ max: 32, item: mediaType }),
});

const relationship: Rule<Relationship> = message(RelationshipSchema, {
  type: known(Relationship_TypeSchema, 'refused'),
  agentId,
});

const activity: Rule<Activity> = message(ActivitySchema, {
  name: name(64, 'refused'),
  progressBudget: duration({ minMs: 100, maxMs: 30 * DAY, range: '100 ms to 30 days' }),
});

const restartPolicy: Rule<RestartPolicy> = message(
  RestartPolicySchema,
  {
    onLoss: anything,
    minBackoff: duration({ minMs: 100, maxMs: DAY, range: '100 ms to 1 day' }),
    maxBackoff: duration({ minMs: 100, maxMs: 30 * DAY, range: '100 ms to 30 days' }),
    maxAttempts: optional(between(1, 1000)),
    resetAfter: duration({ minMs: SECOND, maxMs: 30 * DAY, range: '1 s to 30 days' }),
  },
  (violations, { minBackoff, maxBackoff }) => {
    if (minBackoff === undefined || maxBackoff === undefined) return;
    if (msFromDuration(maxBackoff) < msFromDuration(minBackoff)) {
      violations.addAt('max_backoff', 'must not be shorter than min_backoff');
    }
  },
);

const quarantinePolicy: Rule<QuarantinePolicy> = message(QuarantinePolicySchema, {
  enabled: anything,
  maxFailures: optional(between(2, 16)),
  window: duration({ minMs: SECOND, maxMs: 30 * DAY, range: '1 s to 30 days' }),
  coolOff: duration({ minMs: SECOND, maxMs: 30 * DAY, range: '1 s to 30 days' }),
});

const failurePolicy: Rule<FailurePolicy> = message(FailurePolicySchema, {
  onLoss: known(FailurePolicy_OnLossSchema, 'allowed'),
  releaseAfter: duration({ minMs: 0, maxMs: 30 * DAY, range: '0 to 30 days' }),
  restart: optional(restartPolicy),
  quarantine: optional(quarantinePolicy),
});

/** All of a spec that can be judged without knowing whose it is. */
export const agentSpec: Rule<AgentSpec> = message(AgentSpecSchema, {
  displayName: line(256),
  kind: name(64, 'allowed'),
  version: line(64),
  capabilities: list({ max: 64, item: capability, distinct: (item) => item.name }),
  labels,
  annotations,
  relationships: list({
    max: 64,
    item: relationship,
    distinct: (item) => `${item.type} ${item.agentId}`,
  }),
  capacity: amounts,
  activities: list({ max: 64, item: activity, distinct: (item) => item.name }),
  forgetAfter: duration({ minMs: SECOND, maxMs: 3653 * DAY, range: '1 s to 10 years' }),
  failurePolicy: optional(failurePolicy),
});

/** No relationship of the spec may lead to the agent itself; stands at the spec's field. */
export function refuseSelfReference(violations: Violations, spec: AgentSpec, id: string): void {
  if (id === '') return;
  violations.enter('relationships');
  spec.relationships.slice(0, 64).forEach((relation, index) => {
    if (relation.agentId !== id) return;
    violations.enter(index);
    violations.addAt('agent_id', 'is the agent itself; must be another one');
    violations.leave();
  });
  violations.leave();
}

/** Judges a whole spec, such as one that an update led to. Paths begin with `spec`. */
export function validateSpec(spec: AgentSpec, id: string): FieldViolation[] {
  const violations = new Violations();
  violations.enter('spec');
  agentSpec(violations, spec);
  refuseSelfReference(violations, spec, id);
  violations.leave();
  return violations.list();
}
