import { commandHandler } from './commands.ts';
import { DeliveryDesk } from './deliveries.ts';
import type { AgentHandle, ConnectAgentOptions } from './options.ts';

/** The desk of an agent: its handlers, and what they may do. */
export function createDesk(
  agent: Pick<AgentHandle, 'send' | 'progress' | 'endProgress' | 'leave'>,
  options: ConnectAgentOptions,
  hooks: {
    /** It was told to stop, and begins to. */
    stopping(): void;
    failed(error: unknown, deliveryId: string): void;
  },
): DeliveryDesk {
  const desk: DeliveryDesk = new DeliveryDesk({
    handler: options.onDelivery,
    commands: commandHandler({
      handlers: options.onCommand ?? {},
      desk: () => desk,
      onStopping: hooks.stopping,
      onStopped: (reason) => void agent.leave(reason),
    }),
    send: (effect) => agent.send(effect),
    progress: (work, done, total) => agent.progress(work, done, total),
    dropProgress: (work) => agent.endProgress(work),
    onError: (error, work) => hooks.failed(error, work.deliveryId),
  });
  return desk;
}
