import { Command, InvalidArgumentError } from 'commander';
import { backlog } from './backlog.ts';
import { calls } from './calls.ts';
import { detect } from './detect.ts';
import { say } from './figures.ts';
import { heartbeat } from './heartbeat.ts';
import { type HistoryOptions, history } from './history.ts';
import { live } from './live.ts';
import { messages, type TrafficOptions } from './messages.ts';
import { type MonitoringOptions, monitoring } from './monitoring.ts';
import { type PlacementOptions, placement } from './placement.ts';
import { register } from './register.ts';
import { runStorm } from './storm.ts';
import { type TasksOptions, tasks } from './tasks.ts';

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('must be a number above 0');
  return value;
}

const program = new Command('bench').description(
  'Measures the service. Lines for people go to stderr, one JSON object a figure to stdout. Exit code 1: a target was missed.',
);

function finish(met: boolean): void {
  say(met ? 'every target was met' : 'a target was missed or not run');
  process.exitCode = met ? 0 : 1;
}

program
  .command('heartbeat')
  .description('CPU and memory of sessions, against a bare grpc-js server and etcd')
  .option('--agents <n>', 'agents, on a connection each', positive, 3000)
  .option('--rounds <n>', 'measurements of each subject, interleaved', positive, 3)
  .option('--settle <s>', 'seconds to wait after the last agent has attached', positive, 8)
  .option('--window <s>', 'seconds to measure', positive, 15)
  .option('--only <names...>', 'only subjects whose name contains one of these', [])
  .option(
    '--main-only',
    'skip the other layouts (1,000 against 10,000 agents, 100 on each of 100 connections)',
    false,
  )
  .action(
    async (
      options: Record<'agents' | 'rounds' | 'settle' | 'window', number> & {
        only: string[];
        mainOnly: boolean;
      },
    ) => {
      const { agents, rounds, settle, window, only, mainOnly } = options;
      finish(
        await heartbeat({ agents, rounds, settleMs: settle * 1000, windowMs: window * 1000, only, mainOnly }),
      );
    },
  );

program
  .command('register')
  .description('acknowledged registrations a second')
  .option('--clients <n>', 'clients, each with one call under way', positive, 50)
  .option('--rounds <n>', 'measurements of each store, interleaved', positive, 3)
  .option('--warmup <s>', 'seconds before measuring', positive, 3)
  .option('--window <s>', 'seconds to measure', positive, 8)
  .action(async (options: Record<'clients' | 'rounds' | 'warmup' | 'window', number>) => {
    const { clients, rounds, warmup, window } = options;
    finish(await register({ clients, rounds, warmupMs: warmup * 1000, windowMs: window * 1000 }));
  });

program
  .command('detect')
  .description(
    'how soon failures are seen, and how fairly: agents killed and paused, late answers, own stalls',
  )
  .option('--agents <n>', 'agents, on a connection each', positive, 1000)
  .option('--processes <n>', 'how many of them are processes of their own', positive, 50)
  .option('--rounds <n>', 'kills and pauses of each process', positive, 3)
  .option('--live <s>', 'seconds of answers with a heavy tail', positive, 60)
  .option('--only <parts...>', 'only these parts: kill, pause, live, stall', [])
  .option('--stores <names...>', 'lmdb, redis', ['lmdb', 'redis'])
  .action(
    async (
      options: Record<'agents' | 'processes' | 'rounds' | 'live', number> &
        Record<'only' | 'stores', string[]>,
    ) => {
      const { live, ...rest } = options;
      finish(await detect({ ...rest, liveMs: live * 1000 }));
    },
  );

program
  .command('storm')
  .description('the service killed and started again: how soon the whole fleet is back, and at what cost')
  .option('--agents <n>', 'agents, on a connection each', positive, 3000)
  .option('--rounds <n>', 'kills on each store', positive, 3)
  .option('--stores <names...>', 'lmdb, redis', ['lmdb', 'redis'])
  .action(async (options: { agents: number; rounds: number; stores: string[] }) => {
    finish(await runStorm(options));
  });

program
  .command('messages')
  .description('agent to agent and acknowledged: latency at a rate, and the most that goes through')
  .option('--pairs <n>', 'senders, and as many receivers', positive, 64)
  .option('--rate <n>', 'messages a second where latency is measured', positive, 1000)
  .option('--window <n>', 'messages of each sender under way at saturation', positive, 16)
  .option('--payload <bytes>', 'size of the data', positive, 256)
  .option('--rounds <n>', 'measurements of each subject, interleaved', positive, 3)
  .option('--warmup <s>', 'seconds before measuring', positive, 3)
  .option('--seconds <s>', 'seconds to measure', positive, 6)
  .option('--only <names...>', 'only subjects whose name contains one of these', [])
  .action(async (options: Omit<TrafficOptions, 'only'> & { only: string[] }) => {
    finish(await messages(options));
  });

program
  .command('call')
  .description('request and reply between agents: latency at a rate, and the most that goes through')
  .option('--pairs <n>', 'callers, and as many agents that answer', positive, 64)
  .option('--rate <n>', 'calls a second where latency is measured', positive, 500)
  .option('--payload <bytes>', 'size of request and answer', positive, 256)
  .option('--rounds <n>', 'measurements of each subject, interleaved', positive, 3)
  .option('--warmup <s>', 'seconds before measuring', positive, 3)
  .option('--seconds <s>', 'seconds to measure', positive, 6)
  .option('--only <names...>', 'only subjects whose name contains one of these', [])
  .action(async (options: Omit<TrafficOptions, 'only' | 'window'> & { only: string[] }) => {
    finish(await calls({ ...options, window: 1 }));
  });

program
  .command('monitoring')
  .description(
    'server CPU of a heartbeat with monitoring on (figures, history, rules), against the same without it',
  )
  .option('--agents <n>', 'agents, on a connection each', positive, 3000)
  .option('--rounds <n>', 'measurements of each, interleaved', positive, 5)
  .option('--settle <s>', 'seconds to wait after the last agent has attached', positive, 8)
  .option('--window <s>', 'seconds to measure', positive, 20)
  .action(async (options: Record<'agents' | 'rounds' | 'settle' | 'window', number>) => {
    const { agents, rounds, settle, window } = options;
    const given: MonitoringOptions = { agents, rounds, settleMs: settle * 1000, windowMs: window * 1000 };
    finish(await monitoring(given));
  });

program
  .command('history')
  .description('a day of measurements of a fleet by a simulated clock: how it is answered, and what it takes')
  .option('--agents <n>', 'agents', positive, 3000)
  .option('--hours <n>', 'hours that are simulated', positive, 24)
  .option('--trips <n>', 'round trips of each agent a minute', positive, 12)
  .option('--queries <n>', 'queries of each kind', positive, 200)
  .action(async (options: HistoryOptions) => finish(await history(options)));

program
  .command('tasks')
  .description(
    'tasks that are nothing to do: latency at a rate, and the most that goes through, beside BullMQ',
  )
  .option('--workers <n>', 'agents, or workers of BullMQ', positive, 100)
  .option('--slots <n>', 'tasks of each at a time', positive, 4)
  .option('--rate <n>', 'tasks a second where latency is measured', positive, 500)
  .option('--window <n>', 'tasks under way at saturation', positive, 1000)
  .option('--rounds <n>', 'measurements of each subject, interleaved', positive, 3)
  .option('--warmup <s>', 'seconds before measuring', positive, 3)
  .option('--seconds <s>', 'seconds to measure', positive, 6)
  .option('--only <names...>', 'only subjects whose name contains one of these', [])
  .action(async (options: Omit<TasksOptions, 'only'> & { only: string[] }) => {
    finish(await tasks(options));
  });

program
  .command('placement')
  .description('one decision where something goes, among 1,000 and 10,000 agents')
  .option('--decisions <n>', 'decisions of each kind', positive, 2000)
  .option('--warmup <n>', 'decisions before measuring', positive, 500)
  .action((options: PlacementOptions) => finish(placement(options)));

program
  .command('backlog')
  .description(
    'many tasks that wait: how fast they are taken, what they cost, and how soon the first of them begins',
  )
  .option('--tasks <n>', 'tasks that wait', positive, 100_000)
  .option('--stores <names...>', 'lmdb, redis', ['lmdb', 'redis'])
  .action(async (options: { tasks: number; stores: string[] }) => {
    finish(await backlog(options));
  });

program
  .command('live')
  .description('what pages cost that watch a fleet live, also those that do not read')
  .option('--agents <n>', 'agents, one heartbeat a second each', positive, 3000)
  .option('--watchers <n>', 'pages at the same time', positive, 5)
  .option('--settle <s>', 'seconds to wait after the last agent has attached', positive, 5)
  .option('--window <s>', 'seconds to measure', positive, 8)
  .action(async (options: Record<'agents' | 'watchers' | 'settle' | 'window', number>) => {
    const { agents, watchers, settle, window } = options;
    finish(await live({ agents, watchers, settleMs: settle * 1000, windowMs: window * 1000 }));
  });

await program.parseAsync();
