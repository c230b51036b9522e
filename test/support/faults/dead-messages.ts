import { MessageService } from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { grpcChannel, unary } from '../sim-agent.ts';
import type { DeadMessage } from './message-book.ts';

/** All messages that are dead letters. */
export async function deadMessages(address: string): Promise<DeadMessage[]> {
  const channel = grpcChannel(address);
  const dead: DeadMessage[] = [];
  try {
    let pageToken = '';
    do {
      const request = { pageSize: 1000, pageToken };
      const page = await unary(channel, MessageService.method.listDeadLetters, request);
      for (const { delivery, reason } of page.deadLetters) {
        if (delivery?.item.case !== 'message') continue;
        const { agentId, work, item } = delivery;
        dead.push({ agentId, deliveryId: work?.deliveryId ?? '', messageId: item.value.id, reason });
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  } finally {
    channel.close();
  }
  return dead;
}
