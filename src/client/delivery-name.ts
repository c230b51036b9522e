import type { Delivery } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';

/** What a delivery is, for people who wait for its end. */
export function nameOf({ item, work }: Delivery): string {
  const id = work?.deliveryId ?? '';
  switch (item.case) {
    case 'task':
      return `task ${item.value.capability} ${item.value.id || id}`;
    case 'message':
      return `message ${item.value.type} ${item.value.id || id}`;
    case 'command':
      return `command ${item.value.type} ${id}`;
    default:
      return `delivery ${id}`;
  }
}

/** Why a delivery is declined that nobody takes. */
export function unhandled({ item, wantsAnswer }: Delivery): string {
  if (item.case === 'message')
    return `this agent has no handler for ${wantsAnswer ? 'calls' : 'messages'} of type ${item.value.type}`;
  return `this agent takes no ${item.case === 'task' ? 'tasks' : 'deliveries'}`;
}
