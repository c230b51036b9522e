import {
  DeleteLinkPolicyRequestSchema,
  type LinkPolicy,
  LinkPolicySchema,
  LinkRerouteSchema,
  LinkThrottleSchema,
  ListLinkPoliciesRequestSchema,
  ListMessageLinksRequestSchema,
  MessageTrace_StepSchema,
  SetLinkPolicyRequestSchema,
  WatchMessagesRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { Violations } from '../../lib/violations.ts';
import { LabelSelectorError, parseLabelSelector } from '../agent/label-selector.ts';
import { atMost, between, known, notNegative } from './numbers.ts';
import { pageToken, type RequestRule, request } from './request-rules.ts';
import { anything, list, message, oneOf, type Rule, required } from './rules.ts';
import { agentId, namespace, optionalAgentId, prose, requestId, visible, word } from './text.ts';

const MAX_FILTERS = 32;
/** One in about a quarter of an hour: what is to pass less often is muted. */
const MIN_RATE = 0.001;
const MAX_RATE = 1_000_000;
const ONE_AGENT = 'agent:';

/** One end of a link: a label selector, "agent:<id>", or empty. */
const end: Rule<string> = (violations, text) => {
  if (text.startsWith(ONE_AGENT)) return agentId(violations, text.slice(ONE_AGENT.length));
  try {
    parseLabelSelector(text);
  } catch (error) {
    if (!(error instanceof LabelSelectorError)) throw error;
    violations.add(error.message);
  }
};

const rate: Rule<number> = (violations, value) => {
  if (!(value >= MIN_RATE && value <= MAX_RATE))
    violations.add(`is ${value}; 0.001 to 1,000,000 is allowed (mute the link to let nothing pass)`);
};

const policy: Rule<LinkPolicy> = message(
  LinkPolicySchema,
  {
    namespace: anything,
    id: agentId,
    from: end,
    to: end,
    priority: between(-1000, 1000),
    action: oneOf({
      mute: { name: 'mute', rule: anything },
      reroute: { name: 'reroute', rule: message(LinkRerouteSchema, { agentId }) },
      throttle: {
        name: 'throttle',
        rule: message(LinkThrottleSchema, { maxPerSecond: rate, burst: atMost(MAX_RATE), perLink: anything }),
      },
    }),
    reason: prose(1024),
    actor: anything,
    createTime: anything,
    updateTime: anything,
    revision: anything,
  },
  (violations: Violations, { action }) => {
    if (action.case === undefined)
      violations.addAt('mute', 'one of mute, reroute and throttle must be given');
  },
);

const agents = list({ max: MAX_FILTERS, item: agentId });
const page = { pageSize: notNegative, pageToken };

/** The rules of requests about traffic and link policies. */
export const trafficRules: readonly RequestRule[] = [
  request(WatchMessagesRequestSchema, {
    namespace,
    agentIds: agents,
    senders: list({ max: MAX_FILTERS, item: visible(256, 'refused') }),
    receivers: agents,
    types: list({ max: MAX_FILTERS, item: visible(128, 'refused') }),
    topics: list({
      max: MAX_FILTERS,
      item: word({
        max: 258,
        empty: 'refused',
        pattern: /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?:\.\*)?$/,
        allowed: 'words of [A-Za-z0-9_-] joined by dots, or such a prefix followed by ".*"',
      }),
    }),
    steps: list({ max: MAX_FILTERS, item: known(MessageTrace_StepSchema, 'refused') }),
    withData: anything,
  }),
  request(ListMessageLinksRequestSchema, {
    namespace,
    agentId: optionalAgentId,
    sender: visible(256, 'allowed'),
    receiver: optionalAgentId,
    ...page,
  }),
  request(SetLinkPolicyRequestSchema, {
    namespace,
    policy: required(policy),
    expectedRevision: notNegative,
    requestId,
  }),
  request(DeleteLinkPolicyRequestSchema, {
    namespace,
    policyId: agentId,
    expectedRevision: notNegative,
    requestId,
  }),
  request(ListLinkPoliciesRequestSchema, { namespace, ...page }),
];
