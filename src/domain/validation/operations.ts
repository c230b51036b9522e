import type { Payload } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  AgentOutcome_StateSchema,
  type Amount,
  AmountSchema,
  CancelOperationRequestSchema,
  GetOperationRequestSchema,
  ListOperationsRequestSchema,
  Operation_StateSchema,
  type OperationSpec,
  OperationSpecSchema,
  PauseOperationRequestSchema,
  ResumeOperationRequestSchema,
  StartOperationRequestSchema,
  WatchOperationRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { agentFilter } from './agent-filter.ts';
import { payload, payloadBytes } from './frames.ts';
import { duration, known, notNegative } from './numbers.ts';
import { cursorOfNamespace, pageToken, type RequestRule, request } from './request-rules.ts';
import { anything, list, message, oneOf, optional, type Rule, required } from './rules.ts';
import { agentId, name, namespace, prose, requestId } from './text.ts';

const SECOND_MS = 1000;
const DAY_MS = 24 * 3600 * SECOND_MS;
const MAX_ARGUMENT_BYTES = 4096;
const MAX_AGENTS = 10_000;

/** Carried out by the service itself, without arguments. */
const ORDERED = new Set(['drain', 'resume', 'restart', 'stop', 'pause']);
/** Sent by the service itself, and by nobody else. */
const RESERVED = new Map([
  ['quarantine', 'is the service\'s own; "pause" sets agents aside'],
  ['dependency_lost', "is the service's own"],
  ['dependency_recovered', "is the service's own"],
]);

const percent: Rule<number> = (violations, value) => {
  if (!(value >= 0 && value <= 100)) violations.add(`is ${value}; 0 to 100 is allowed`);
};

/** @param none whether nobody is an amount that makes sense */
const amount = (none: 'allowed' | 'refused'): Rule<Amount> =>
  message(
    AmountSchema,
    {
      amount: oneOf({
        count: { name: 'count', rule: anything },
        percent: { name: 'percent', rule: percent },
      }),
    },
    (violations, { amount: { case: which, value } }) => {
      if (which === undefined) violations.add('must have count or percent');
      else if (none === 'refused' && value === 0) violations.addAt(which, 'is 0; must be more');
    },
  );

const commandArguments: Rule<Payload> = (violations, given) => {
  payload(violations, given);
  const bytes = payloadBytes(given);
  if (bytes > MAX_ARGUMENT_BYTES) {
    violations.add(`has ${bytes} bytes; at most ${MAX_ARGUMENT_BYTES} are allowed`);
  }
};

const health: Rule<number> = (violations, value) => {
  if (!(value >= 0 && value <= 1)) violations.add(`is ${value}; 0 to 1 is allowed`);
};

const spec: Rule<OperationSpec> = message(
  OperationSpecSchema,
  {
    command: name(64, 'refused'),
    arguments: optional(commandArguments),
    filter: optional(agentFilter),
    agentIds: list({ max: MAX_AGENTS, item: agentId, distinct: (id) => id }),
    wave: optional(amount('refused')),
    maxInFlight: optional(amount('refused')),
    maxErrors: optional(amount('allowed')),
    agentTimeout: duration({ minMs: SECOND_MS, maxMs: 30 * DAY_MS, range: '1 s to 30 days' }),
    minHealth: health,
    wavePause: duration({ minMs: 0, maxMs: DAY_MS, range: '0 to 1 day' }),
    reason: prose(1024),
  },
  (violations, { command, arguments: given, filter, agentIds, minHealth }) => {
    const reserved = RESERVED.get(command);
    if (reserved !== undefined) violations.addAt('command', reserved);
    if (ORDERED.has(command) && given !== undefined) violations.addAt('arguments', `"${command}" takes none`);
    if (filter === undefined && agentIds.length === 0) {
      violations.addAt('filter', 'must be given, or agent_ids; an empty filter is all agents');
    }
    if (command === 'stop' && minHealth > 0) {
      violations.addAt('min_health', 'means nothing with "stop": who has left has no health');
    }
  },
);

const one = { namespace, operationId: agentId };
const change = { ...one, reason: prose(1024), expectedRevision: notNegative, requestId };
const page = { pageSize: notNegative, pageToken };

/** The rules of requests about fleet operations. */
export const operationRules: readonly RequestRule[] = [
  request(StartOperationRequestSchema, { namespace, spec: required(spec), dryRun: anything, requestId }),
  request(GetOperationRequestSchema, {
    ...one,
    withAgents: anything,
    agentStates: list({ max: 32, item: known(AgentOutcome_StateSchema, 'refused') }),
    ...page,
  }),
  request(ListOperationsRequestSchema, {
    namespace,
    ...page,
    states: list({ max: 32, item: known(Operation_StateSchema, 'refused') }),
    minRevision: notNegative,
  }),
  request(WatchOperationRequestSchema, { ...one, cursor: anything }, cursorOfNamespace),
  request(PauseOperationRequestSchema, change),
  request(ResumeOperationRequestSchema, { ...change, retryFailed: anything }),
  request(CancelOperationRequestSchema, change),
];
