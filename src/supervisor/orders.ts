import { fromJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type { CommandHandlers } from '../client/index.ts';
import { withinMs } from '../client/time.ts';
import type { Keeper } from './keeper.ts';

export type OnDependencyLost = 'ignore' | 'restart' | 'stop-child';

/** What the agent does when it is told to; what is not here is as the SDK does it, or declined. */
export function ordersFor(options: {
  keeper: Pick<Keeper, 'state' | 'restart' | 'drain' | 'quarantine' | 'resume' | 'stop'> &
    Pick<Keeper, 'dependencyLost' | 'dependencyRecovered'>;
  /** Whether an agent's process is the program: the supervisor's own agent, or one that the program registers. */
  isMine: (agentId: string) => boolean;
  /** The program's name; its arguments may hold secrets. */
  program: string;
  stopTimeoutMs: number;
  quarantineStops: boolean;
  onDependencyLost: OnDependencyLost;
  /** It is handed tasks: those that it has are finished before it is told to end. */
  takesTasks?: boolean;
}): CommandHandlers {
  const { keeper, program, stopTimeoutMs } = options;
  const running = (): string[] =>
    keeper.state.pid === 0 ? [] : [`${program.slice(0, 64)} (pid ${keeper.state.pid})`];
  return {
    drain: async (_, controls) => {
      if (options.takesTasks) await controls.drained();
      await controls.accept({ running: running() });
      await keeper.drain();
    },
    resume: () => keeper.resume(),
    restart: async (command, controls) => {
      const agentId = command.arguments.agent_id;
      if (typeof agentId === 'string' && agentId !== '' && !options.isMine(agentId)) {
        return controls.decline(`this supervisor runs ${program}, and knows no agent ${agentId}`);
      }
      await controls.accept();
      const started = await keeper.restart();
      await controls.succeed({
        contentType: 'application/json',
        data: { case: 'json', value: fromJson(ValueSchema, started) },
      });
    },
    stop: async (command, controls) => {
      await controls.accept({ running: running() });
      if (options.takesTasks) await withinMs(stopTimeoutMs, [controls.drained().catch(() => {})]);
      const timeoutMs = Math.min(stopTimeoutMs, command.timeLeftMs ?? stopTimeoutMs);
      await keeper.stop({ signal: 'SIGTERM', timeoutMs, exitCode: 0 });
    },
    quarantine: async (_, controls) => {
      if (options.quarantineStops) await controls.accept();
      await keeper.quarantine(options.quarantineStops);
    },
    dependency_lost: async (_, controls) => {
      if (options.onDependencyLost === 'ignore') return;
      await controls.accept();
      if (options.onDependencyLost === 'restart') await keeper.restart();
      else await keeper.dependencyLost();
    },
    dependency_recovered: () => keeper.dependencyRecovered(),
  };
}
