import type { Work } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Delivery } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { answerOf } from './caller.ts';

/** What an order gave as its reason: the request that caused it. Undefined: it is a message. */
export function reasonOf({ item }: Delivery): string | undefined {
  if (item.case === 'message') return undefined;
  if (item.case !== 'command') return '';
  const data = item.value.arguments?.data;
  if (data?.case !== 'json' || data.value.kind.case !== 'structValue') return '';
  const kind = data.value.kind.value.fields.reason?.kind;
  return kind?.case === 'stringValue' ? kind.value : '';
}

interface Came {
  messageId: string;
  source: string;
  content: string;
}

/** The message that a delivery brings; undefined: it is something else. */
export function messageOf({ item }: Delivery): Came | undefined {
  if (item.case !== 'message') return undefined;
  const { id, source, data } = item.value;
  return { messageId: id, source, content: data?.data.case === 'text' ? data.data.value : '' };
}

export const answerTo = (agentId: string, { messageId }: Came, { deliveryId }: Work): string =>
  answerOf(agentId, messageId, deliveryId);
