import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { SendMessageSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  DeleteLinkPolicyRequestSchema,
  type LinkPolicySchema,
  ListMessageLinksRequestSchema,
  type MessageLink,
  type MessageTrace,
  MessageTrace_Step,
  SetLinkPolicyRequestSchema,
  WatchMessagesRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { listMessageLinks } from '../../../src/domain/coordination/traffic/message-links.ts';
import { watchMessages } from '../../../src/domain/coordination/traffic/message-watch.ts';
import { type TestFleet, turns } from '../agent/fleet-fixture.ts';

export const ANN = { principal: 'ann', token: undefined };
export type To = NonNullable<MessageInitShape<typeof SendMessageSchema>['to']>;

export const toAgent = (value: string): To => ({ case: 'agentId', value });
export const STEP_NAMES = Object.fromEntries(
  Object.entries(MessageTrace_Step).map(([name, step]) => [step, name]),
);

let ids = 0;
export async function send(
  fleet: TestFleet,
  to: To,
  message: object = {},
  more: Omit<MessageInitShape<typeof SendMessageSchema>, 'to' | 'message' | '$typeName'> = {},
) {
  ids += 1;
  const data = { data: { case: 'text' as const, value: 'hi' } };
  const request = create(SendMessageSchema, {
    message: { id: `m${ids}`, type: 'note', data, ...message },
    to,
    ...more,
  });
  const response = await fleet.coordination.messages.send('default', request, {
    caller: ANN,
    sessionEpoch: 0n,
  });
  await turns();
  return response;
}

/** Watches the traffic, as one replica tells it. */
export async function watchTraffic(
  fleet: TestFleet,
  request: MessageInitShape<typeof WatchMessagesRequestSchema> = {},
  watchBuffer = 1000,
) {
  const stop = new AbortController();
  const traces: MessageTrace[] = [];
  const { traffic, store } = fleet.coordination.traffic;
  const wanted = create(WatchMessagesRequestSchema, request);
  const stream = watchMessages(wanted, stop.signal, { traffic, store, watchBuffer });
  const first = await stream.next();
  const pump = async () => {
    for await (const news of stream) traces.push(...news.traces);
  };
  const ended = pump();
  ended.catch(() => {});
  return {
    first: first.done === true ? undefined : first.value,
    traces,
    ended,
    /** "STORED m1 to a1" */
    words: () => traces.map(({ step, messageId, agentId }) => `${STEP_NAMES[step]} ${messageId} ${agentId}`),
    steps: () => traces.map(({ step }) => STEP_NAMES[step]),
    stop: async () => {
      stop.abort();
      await ended;
    },
  };
}

export function links(
  fleet: TestFleet,
  request: MessageInitShape<typeof ListMessageLinksRequestSchema> = {},
): MessageLink[] {
  return listMessageLinks(create(ListMessageLinksRequestSchema, request), fleet.coordination.traffic).links;
}

type Policy = MessageInitShape<typeof LinkPolicySchema>;

export async function setPolicy(fleet: TestFleet, policy: Policy, more: object = {}) {
  const request = create(SetLinkPolicyRequestSchema, { policy, ...more });
  const response = await fleet.coordination.linkPolicies.set(request, ANN);
  await turns();
  return response.policy;
}

export async function deletePolicy(fleet: TestFleet, policyId: string, more: object = {}) {
  const request = create(DeleteLinkPolicyRequestSchema, { policyId, ...more });
  const response = await fleet.coordination.linkPolicies.delete(request, ANN);
  await turns();
  return response;
}
