// The load generator: a process of its own, driven over the IPC channel, so that its cost is not the server's.
import { runCalls } from './calls.ts';
import type { LoadAnswer, LoadCommand, MessageLoad } from './protocol.ts';
import { registerAgents } from './register.ts';
import { SessionCarrier } from './session-carrier.ts';
import { SessionFleet } from './sessions.ts';
import { type Carrier, runTraffic } from './traffic.ts';

let fleet: SessionFleet | undefined;

async function carrierOf(load: MessageLoad): Promise<Carrier> {
  if (load.carrier === 'session') return new SessionCarrier(load);
  const { JetStreamCarrier } = await import('./jetstream-carrier.ts');
  return new JetStreamCarrier(load);
}

async function answer(command: LoadCommand): Promise<LoadAnswer> {
  switch (command.kind) {
    case 'sessions':
      fleet = new SessionFleet({ load: command });
      await fleet.open();
      return { kind: 'ready' };
    case 'register':
      return { kind: 'registered', ...(await registerAgents(command)) };
    case 'messages':
      return { kind: 'sent', ...(await runTraffic(command, await carrierOf(command))) };
    case 'calls':
      return { kind: 'called', ...(await runCalls(command)) };
    case 'delays':
      fleet?.delayAnswers(command.delays);
      return { kind: 'ready' };
    case 'count':
      if (fleet === undefined) throw new Error('there are no sessions to count');
      return { kind: 'count', ...fleet.count() };
    case 'close':
      fleet?.close();
      return { kind: 'ready' };
  }
}

process.on('message', (command: LoadCommand) => {
  answer(command).then(
    (reply) => process.send?.(reply),
    (error: unknown) => process.send?.({ kind: 'failed', detail: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
