import type { Payload } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  AcquireLockRequestSchema,
  GetLockRequestSchema,
  ListLocksRequestSchema,
  ReleaseLockRequestSchema,
  RenewLockRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import {
  CallAgentRequestSchema,
  CreateSubscriptionRequestSchema,
  DeleteSubscriptionRequestSchema,
  ListDeadLettersRequestSchema,
  ListDeliveriesRequestSchema,
  ListSubscriptionsRequestSchema,
  RedriveDeadLettersRequestSchema,
  SendMessageRequestSchema,
  type Subscription,
  SubscriptionSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import {
  CommitStateRequestSchema,
  GetStateRequestSchema,
  ListStateRequestSchema,
  type StateWrite,
  StateWriteSchema,
  WatchStateRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import type { Violations } from '../../lib/violations.ts';
import { payload, payloadBytes, sendMessage } from './frames.ts';
import { duration, notNegative } from './numbers.ts';
import { cursorOfNamespace, pageToken, type RequestRule, request } from './request-rules.ts';
import { anything, list, message, oneOf, optional, type Rule, required } from './rules.ts';
import { agentId, namespace, optionalAgentId, requestId, visible, word } from './text.ts';

const SECOND_MS = 1000;
const DAY_MS = 24 * 3600 * SECOND_MS;
const MAX_WRITES = 64;
const MAX_VALUE_BYTES = 65_536;
const MAX_LOCK_VALUE_BYTES = 4_096;

/** A key of the shared state, or the name of a lock. */
const key = word({
  max: 256,
  empty: 'refused',
  pattern: /^[A-Za-z0-9][A-Za-z0-9._/:-]*$/,
  allowed: 'of characters [A-Za-z0-9._/:-], beginning with a letter or digit',
});
const prefix = word({
  max: 256,
  empty: 'allowed',
  pattern: /^[A-Za-z0-9._/:-]+$/,
  allowed: 'of characters [A-Za-z0-9._/:-]',
});

/** A payload of at most `max` bytes. */
const value =
  (max: number): Rule<Payload> =>
  (violations, given) => {
    payload(violations, given);
    const bytes = payloadBytes(given);
    if (bytes > max) violations.add(`has ${bytes} bytes; at most ${max} are allowed`);
  };

const isTrue = (violations: Violations, given: boolean): void => {
  if (!given) violations.add('must be true where it is given');
};

const write: Rule<StateWrite> = message(
  StateWriteSchema,
  {
    key,
    operation: oneOf({
      put: { name: 'put', rule: value(MAX_VALUE_BYTES) },
      remove: { name: 'remove', rule: isTrue },
      check: { name: 'check', rule: isTrue },
    }),
    expectedRevision: notNegative,
    expireAfter: duration({ minMs: SECOND_MS, maxMs: 365 * DAY_MS, range: '1 s to 365 days' }),
    bindToSession: anything,
  },
  (violations, { operation, expectedRevision, expireAfter, bindToSession }) => {
    if (operation.case === undefined) violations.addAt('put', 'one of put, remove and check must be given');
    if (operation.case === 'check' && expectedRevision === undefined) {
      violations.addAt('expected_revision', 'must be given with check');
    }
    if (operation.case === 'put') return;
    if (expireAfter !== undefined) violations.addAt('expire_after', 'is allowed with put only');
    if (bindToSession) violations.addAt('bind_to_session', 'is allowed with put only');
  },
);

const writes = list({ max: MAX_WRITES, item: write, distinct: (item) => item.key });
const lease = duration({ minMs: SECOND_MS, maxMs: DAY_MS, range: '1 s to 1 day' });
const lockValue = optional(value(MAX_LOCK_VALUE_BYTES));
const grant = { namespace, name: key, fencingToken: anything };
const page = { pageSize: notNegative, pageToken };

const subscription: Rule<Subscription> = message(SubscriptionSchema, {
  namespace: anything,
  id: optionalAgentId,
  agentId,
  topic: word({
    max: 258,
    empty: 'refused',
    pattern: /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?:\.\*)?$/,
    allowed: 'words of [A-Za-z0-9_-] joined by dots, or such a prefix followed by ".*"',
  }),
  createTime: anything,
  revision: anything,
});

/** The rules of requests about messages, shared state and locks. */
export const coordinationRules: readonly RequestRule[] = [
  request(GetStateRequestSchema, { namespace, key }),
  request(ListStateRequestSchema, { namespace, prefix, ...page, minRevision: notNegative }),
  request(CommitStateRequestSchema, {
    namespace,
    writes: (violations, given) => {
      if (given.length === 0) violations.add('must not be empty');
      writes(violations, given);
    },
    requestId,
    sessionEpoch: anything,
  }),
  request(WatchStateRequestSchema, { namespace, prefix, cursor: anything }, cursorOfNamespace),
  request(AcquireLockRequestSchema, {
    namespace,
    name: key,
    holder: visible(128, 'refused'),
    lease,
    wait: duration({ minMs: 0, maxMs: 600_000, range: '0 to 10 min' }),
    lockDelay: duration({ minMs: 0, maxMs: 3_600_000, range: '0 to 1 h' }),
    value: lockValue,
    bindToSession: anything,
    sessionEpoch: anything,
    requestId,
  }),
  request(RenewLockRequestSchema, { ...grant, lease, value: lockValue }),
  request(ReleaseLockRequestSchema, grant),
  request(GetLockRequestSchema, { namespace, name: key }),
  request(ListLocksRequestSchema, { namespace, prefix, ...page }),
  request(SendMessageRequestSchema, { namespace, send: required(sendMessage), sessionEpoch: anything }),
  request(
    CallAgentRequestSchema,
    {
      namespace,
      send: required(sendMessage),
      timeout: duration({ minMs: 100, maxMs: 3_600_000, range: '100 ms to 1 h' }),
      idempotent: anything,
      sessionEpoch: anything,
    },
    (violations, { send }) => {
      const to = send?.to.case;
      if (to === 'topic' || to === 'selector') {
        violations.addAt('send', `is for a ${to}; a call is for one agent: agent_id or capability`);
      }
    },
  ),
  request(CreateSubscriptionRequestSchema, { namespace, subscription: required(subscription), requestId }),
  request(DeleteSubscriptionRequestSchema, { namespace, subscriptionId: agentId }),
  request(ListSubscriptionsRequestSchema, { namespace, agentId: optionalAgentId, ...page }),
  request(ListDeliveriesRequestSchema, { namespace, agentId, ...page }),
  request(ListDeadLettersRequestSchema, { namespace, agentId: optionalAgentId, ...page }),
  request(RedriveDeadLettersRequestSchema, {
    namespace,
    agentId: optionalAgentId,
    deliveryIds: list({ max: 256, item: visible(128, 'refused'), distinct: (id) => id }),
    toAgentId: optionalAgentId,
    requestId,
  }),
];
