import { commandHandler } from './commands.ts';
import { DeliveryDesk } from './deliveries.ts';
import type { MessageDesk } from './message-desk.ts';
import type { AgentHandle, ConnectAgentOptions } from './options.ts';
import type { TaskDesk } from './task-desk.ts';

/** The desk of an agent: its handlers, and what they may do. */
export function createDesk(
  agent: Pick<AgentHandle, 'sendFrame' | 'progress' | 'endProgress' | 'leave'>,
  options: ConnectAgentOptions,
  takers: { messageDesk: MessageDesk; taskDesk: TaskDesk },
  hooks: {
    /** It was told to stop, and begins to. */
    stopping(): void;
    failed(error: unknown, deliveryId: string): void;
  },
): DeliveryDesk {
  const desk: DeliveryDesk = new DeliveryDesk({
    handler: options.onDelivery,
    takers: (delivery) => takers.messageDesk.of(delivery) ?? takers.taskDesk.of(delivery),
    commands: commandHandler({
      handlers: options.onCommand ?? {},
      desk: () => desk,
      onDrain: (draining) => takers.taskDesk.drain(draining),
      onStopping: hooks.stopping,
      onStopped: (reason) => void agent.leave(reason),
    }),
    send: (effect) => agent.sendFrame(effect),
    progress: (work, ...counter) => agent.progress(work, ...counter),
    dropProgress: (work) => agent.endProgress(work),
    onError: (error, work) => hooks.failed(error, work.deliveryId),
  });
  return desk;
}
