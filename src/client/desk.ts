import { commandHandler } from './commands.ts';
import { DeliveryDesk } from './deliveries.ts';
import type { MessageDesk } from './message-desk.ts';
import type { AgentHandle, ConnectAgentOptions } from './options.ts';

/** The desk of an agent: its handlers, and what they may do. */
export function createDesk(
  agent: Pick<AgentHandle, 'sendFrame' | 'progress' | 'endProgress' | 'leave'>,
  options: ConnectAgentOptions,
  messages: MessageDesk,
  hooks: {
    /** It was told to stop, and begins to. */
    stopping(): void;
    failed(error: unknown, deliveryId: string): void;
  },
): DeliveryDesk {
  const desk: DeliveryDesk = new DeliveryDesk({
    handler: options.onDelivery,
    messages: (delivery) => messages.of(delivery),
    commands: commandHandler({
      handlers: options.onCommand ?? {},
      desk: () => desk,
      onStopping: hooks.stopping,
      onStopped: (reason) => void agent.leave(reason),
    }),
    send: (effect) => agent.sendFrame(effect),
    progress: (work, done, total) => agent.progress(work, done, total),
    dropProgress: (work) => agent.endProgress(work),
    onError: (error, work) => hooks.failed(error, work.deliveryId),
  });
  return desk;
}
