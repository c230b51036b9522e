import type { Message, MessageShape } from '@bufbuild/protobuf';
import type { FieldMask } from '@bufbuild/protobuf/wkt';
import {
  ConfirmLossRequestSchema,
  DeregisterAgentRequestSchema,
  DrainAgentRequestSchema,
  ExplainAgentRequestSchema,
  GetAgentRequestSchema,
  ListAgentsRequestSchema,
  QuarantineAgentRequestSchema,
  RegisterAgentRequestSchema,
  RestartAgentRequestSchema,
  ResumeAgentRequestSchema,
  SetAutomationRequestSchema,
  StopAgentRequestSchema,
  UpdateAgentRequestSchema,
  WatchAgentsRequestSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { PollSessionRequestSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { FieldViolation } from '../../lib/errors.ts';
import { quote, Violations } from '../../lib/violations.ts';
import { maskPathFault } from '../agent/field-mask.ts';
import { agentFilter } from './agent-filter.ts';
import { agentSpec, refuseSelfReference } from './agent-spec.ts';
import { coordinationRules } from './coordination.ts';
import { frame } from './frames.ts';
import { monitoringRules } from './monitoring.ts';
import { duration, notNegative } from './numbers.ts';
import { operationRules } from './operations.ts';
import { cursorOfNamespace, pageToken, request } from './request-rules.ts';
import { resourceRules } from './resources.ts';
import { anything, list, optional, type Rule, required } from './rules.ts';
import { taskRules } from './tasks.ts';
import { agentId, line, namespace, optionalAgentId, prose, requestId } from './text.ts';
import { trafficRules } from './traffic.ts';

const SECOND_MS = 1000;
const HOUR_MS = 3600 * SECOND_MS;
const DAY_MS = 24 * HOUR_MS;

const updateMask: Rule<FieldMask> = (violations, { paths }) => {
  violations.enter('paths');
  if (paths.length === 0) violations.add('must not be empty');
  if (paths.length > 1 && paths.includes('*')) violations.add('must be "*" alone, or without "*"');
  maskPaths(violations, paths);
  violations.leave();
};

const maskPaths = list<string>({
  max: 64,
  item: (violations, path) => {
    const fault = maskPathFault(path);
    if (fault !== undefined) violations.add(`${quote(path)} ${fault}`);
  },
});

const interval = duration({ minMs: 100, maxMs: HOUR_MS, range: '100 ms to 1 h' });

/** What all orders to an agent have. */
const order = { namespace, agentId, expectedRevision: notNegative, requestId, reason: prose(1024) };

const orderDeadline = (minMs: number) =>
  duration({ minMs, maxMs: 30 * DAY_MS, range: `${minMs / 1000} s to 30 days` });

const rules: ReadonlyMap<string, Rule<Message>> = new Map<string, Rule<Message>>([
  request(
    RegisterAgentRequestSchema,
    { namespace, agentId: optionalAgentId, spec: optional(agentSpec), takeover: anything, requestId },
    checkSelfReference,
  ),
  request(GetAgentRequestSchema, { namespace, agentId, minRevision: notNegative }),
  request(ListAgentsRequestSchema, {
    namespace,
    filter: optional(agentFilter),
    pageSize: notNegative,
    pageToken,
    minRevision: notNegative,
  }),
  request(
    WatchAgentsRequestSchema,
    { namespace, filter: optional(agentFilter), cursor: anything, sampleInterval: interval },
    cursorOfNamespace,
  ),
  request(
    UpdateAgentRequestSchema,
    {
      namespace,
      agentId,
      spec: required(agentSpec),
      updateMask: required(updateMask),
      expectedRevision: notNegative,
      requestId,
    },
    checkSelfReference,
  ),
  request(DeregisterAgentRequestSchema, {
    namespace,
    agentId,
    expectedRevision: notNegative,
    requestId,
    reason: prose(1024),
  }),
  request(DrainAgentRequestSchema, { ...order, deadline: orderDeadline(0), mandatory: anything }),
  request(ResumeAgentRequestSchema, order),
  request(RestartAgentRequestSchema, { ...order, deadline: orderDeadline(SECOND_MS) }),
  request(StopAgentRequestSchema, { ...order, deadline: orderDeadline(0) }),
  request(QuarantineAgentRequestSchema, {
    ...order,
    duration: duration({ minMs: SECOND_MS, maxMs: 3653 * DAY_MS, range: '1 s to 10 years' }),
  }),
  request(ConfirmLossRequestSchema, {
    namespace,
    zone: line(63),
    agentIds: list({ max: 1024, item: agentId }),
    reason: prose(1024),
    requestId,
  }),
  request(
    SetAutomationRequestSchema,
    {
      namespace,
      enabled: anything,
      reason: prose(1024),
      requestId,
      duration: duration({ minMs: SECOND_MS, maxMs: 30 * DAY_MS, range: '1 s to 30 days' }),
    },
    (violations, { enabled, duration: forHowLong }) => {
      if (enabled && forHowLong !== undefined)
        violations.addAt('duration', 'is allowed with enabled = false only');
    },
  ),
  request(ExplainAgentRequestSchema, { namespace, agentId }),
  request(PollSessionRequestSchema, {
    epoch: anything,
    sequence: anything,
    frames: list({ max: 256, item: frame }),
    wait: duration({ minMs: 0, maxMs: 60_000, range: '0 to 60 s' }),
  }),
  ...monitoringRules,
  ...coordinationRules,
  ...operationRules,
  ...trafficRules,
  ...resourceRules,
  ...taskRules,
]);

function checkSelfReference(
  violations: Violations,
  { agentId: id, spec }: MessageShape<typeof RegisterAgentRequestSchema | typeof UpdateAgentRequestSchema>,
): void {
  if (spec === undefined) return;
  violations.enter('spec');
  refuseSelfReference(violations, spec, id);
  violations.leave();
}

/**
 * Everything that is wrong with a request of this API, at once. Throws for a request of this API that has no rules;
 * messages of other packages (health, reflection) are not judged.
 */
export function validateRequest(request: Message): FieldViolation[] {
  const rule = rules.get(request.$typeName);
  if (rule === undefined) {
    if (!request.$typeName.startsWith('mycosoft.orchestrator.')) return [];
    throw new Error(`${request.$typeName} has no validation rules`);
  }
  const violations = new Violations();
  rule(violations, request);
  return violations.list();
}
