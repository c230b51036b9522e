import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { OnDependencyLost } from '../../supervisor/orders.ts';
import type { RestartWhen } from '../../supervisor/policy.ts';
import { addSpecOptions, type SpecOptions, specFrom } from '../agent-spec.ts';
import { defaultServer, parseServer } from '../client.ts';
import { CommandError, UsageError } from '../errors.ts';
import { addQuarantineOptions, type PolicyOptions, policyFrom } from '../failure-policy.ts';
import type { CliIo } from '../io.ts';
import { escapeText } from '../output/escape.ts';
import { collect, parseCount, parsePositiveDuration } from '../parse.ts';

interface SuperviseFlags extends SpecOptions, Omit<PolicyOptions, 'maxRestarts'> {
  server?: string;
  caFile?: string;
  namespace?: string;
  id?: string;
  tokenFile?: string;
  pidFile?: string;
  takeover?: boolean;
  restart: RestartWhen;
  backoffMin: number;
  backoffMax: number;
  resetAfter: number;
  maxRestarts: number;
  stopTimeout: number;
  drainSignal: NodeJS.Signals;
  quarantineStops?: boolean;
  onDependencyLost: OnDependencyLost;
  programAgent?: string[];
  lines: number;
  tasks?: 'stdin';
  slots?: number;
  quiet?: boolean;
}

const drainSignals = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;
const agentId = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$/;
const tokenText = /^[\x21-\x7e]{1,1024}$/;

/** `supervise`: runs a program and is its agent. It has signals and exit codes of its own, as `serve` does. */
export function addSuperviseCommand(program: Command, io: CliIo, exit: (code: number) => void): void {
  const duration = (flags: string, about: string, shown: string, ms: number) =>
    new Option(flags, about).argParser(parsePositiveDuration).default(ms, shown);
  const command = program
    .command('supervise')
    .description('run a program in any language as an agent: restarted, measured, drained, stopped on order')
    .argument('<command...>', 'the program and its arguments, after --')
    .usage('[options] -- <command...>')
    .option('--id <agent>', "the agent's id; the service makes one if it is left out", parseId)
    .option('--token-file <file>', 'keep the token there, and be the same agent after a restart')
    .option('--pid-file <file>', 'find the program again if the supervisor is killed, and never run it twice')
    .option('--takeover', 'although the agent has a live session, which is then superseded');
  addQuarantineOptions(addSpecOptions(command))
    .addOption(
      new Option('--restart <when>', 'after which ends it is started again')
        .choices(['always', 'on-failure', 'never'])
        .default('on-failure'),
    )
    .addOption(duration('--backoff-min <duration>', 'the wait before the first restart', '1s', 1_000))
    .addOption(
      duration('--backoff-max <duration>', 'each wait is twice the one before, up to this', '5m', 300_000),
    )
    .addOption(
      duration('--reset-after <duration>', 'a run of this length begins the backoff anew', '10m', 600_000),
    )
    .addOption(
      new Option('--max-restarts <count>', 'give up after so many in a row; 0: never')
        .argParser(parseCount(0, 1_000_000))
        .default(0),
    )
    .addOption(duration('--stop-timeout <duration>', 'between SIGTERM and SIGKILL', '10s', 10_000))
    .addOption(
      new Option('--drain-signal <signal>', 'asks it to finish its work and end')
        .choices([...drainSignals])
        .default('SIGTERM'),
    )
    .option('--quarantine-stops', 'a quarantine also ends it, instead of only keeping it from being started')
    .addOption(
      new Option('--on-dependency-lost <action>', 'when an agent that it depends on is lost')
        .choices(['ignore', 'restart', 'stop-child'])
        .default('ignore'),
    )
    .option(
      '--program-agent <agent>',
      'the program is that agent itself: restart it as such; repeatable',
      collect,
    )
    .addOption(
      new Option(
        '--tasks <how>',
        'hand it tasks as lines of JSON on its stdin, for each --capability',
      ).choices(['stdin']),
    )
    .addOption(
      new Option('--slots <count>', 'how many tasks it gets at a time, with --tasks; default 1').argParser(
        parseCount(1, 1_000),
      ),
    )
    .addOption(
      new Option('--lines <count>', 'how many of its last lines are reported when it ends')
        .argParser(parseCount(0, 20))
        .default(20),
    )
    .option('-q, --quiet', 'say nothing on stderr of starts, ends and the service')
    .addHelpText('after', help)
    .action(async (words: string[], _options: unknown, self: Command) => {
      exit(await run(io, words, self.optsWithGlobals<SuperviseFlags>()));
    });
}

const help = `
The program runs unchanged, with or without the service. Signals: SIGTERM and SIGINT end it and then the supervisor (a
second one kills), SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on. Orders from the service: restart, drain, resume,
stop, quarantine.

Exit codes: the program's own (128 + n for signal n), 0 after an order to stop, 127 if there is no such program, 126 if
it cannot be run, 2 for wrong arguments, 1 if a file is not as it must be or another supervisor runs it already.

  orchestrator supervise --id crawler-1 --kind crawler -- python3 crawler.py
  orchestrator supervise --tasks stdin --capability resize --slots 4 -- python3 resize.py
  orchestrator supervise --id db --restart always --pid-file /run/db.pid --token-file /var/lib/db.token -- ./db --port 1

docs/supervise.md says more.`;

async function run(io: CliIo, command: string[], flags: SuperviseFlags): Promise<number> {
  if (process.platform === 'win32')
    throw new UsageError('supervise needs process groups and signals: not on Windows');
  if (flags.backoffMax < flags.backoffMin) throw new UsageError('--backoff-max is less than --backoff-min');
  const url = parseServer(flags.server ?? (io.env.ORCHESTRATOR_SERVER || defaultServer));
  const secure = url.protocol === 'https:';
  if (flags.caFile !== undefined && !secure)
    throw new UsageError('--ca-file needs a server that begins with https://');
  const token = (io.env.ORCHESTRATOR_AGENT_TOKEN ?? '').trim();
  if (token !== '' && !tokenText.test(token))
    throw new UsageError('ORCHESTRATOR_AGENT_TOKEN does not hold a token');
  if (token !== '' && flags.id === undefined)
    throw new UsageError('ORCHESTRATOR_AGENT_TOKEN needs --id: a token is of one agent');
  const { maxRestarts, ...described } = flags; // its own restarts, not those that the service orders
  const spec = specFrom({ ...described, kind: flags.kind ?? kindOf(command) });
  const taskSlots = slotsOf(flags);
  if (taskSlots !== undefined) spec.capacity.slots ??= BigInt(taskSlots);
  const failurePolicy = policyFrom(described, undefined);
  if (failurePolicy !== undefined) spec.failurePolicy = failurePolicy;
  io.outlivesReaders?.();
  const { CannotSupervise, supervise } = await import('../../supervisor/supervise.ts');
  try {
    return await supervise({
      command,
      server: `${url.protocol}//${url.hostname}:${url.port || (secure ? 443 : 80)}`,
      tls: secure && flags.caFile !== undefined ? { ca: readAuthorities(flags.caFile) } : undefined,
      namespace: flags.namespace ?? io.env.ORCHESTRATOR_NAMESPACE ?? '',
      id: flags.id ?? '',
      token: token === '' ? undefined : token,
      tokenFile: flags.tokenFile,
      pidFile: flags.pidFile,
      takeover: flags.takeover ?? false,
      spec,
      policy: {
        when: flags.restart,
        backoffMinMs: flags.backoffMin,
        backoffMaxMs: flags.backoffMax,
        resetAfterMs: flags.resetAfter,
        maxRestarts,
      },
      stopTimeoutMs: flags.stopTimeout,
      drainSignal: flags.drainSignal,
      quarantineStops: flags.quarantineStops ?? false,
      onDependencyLost: flags.onDependencyLost,
      programAgents: flags.programAgent ?? [],
      taskSlots,
      keepLines: flags.lines,
      stdout: io.stdout,
      stderr: io.stderr,
      onTerminal: io.stdin.isTTY === true,
      note: (text) => {
        if (flags.quiet !== true) io.stderr.write(`supervise: ${escapeText(text)}\n`);
      },
      abandon: (code) => process.exit(code),
    });
  } catch (error) {
    if (error instanceof CannotSupervise) throw new CommandError(error.message, { cause: error });
    throw error;
  }
}

/** How many tasks it is handed at a time; undefined: none. */
function slotsOf({ tasks, slots, capability = [], capacity }: SuperviseFlags): number | undefined {
  if (tasks === undefined) {
    if (slots !== undefined) throw new UsageError('--slots needs --tasks stdin');
    return undefined;
  }
  if (capability.length === 0) throw new UsageError('--tasks needs a --capability: tasks are for one');
  const declared = capacity?.get('slots');
  if (slots !== undefined && declared !== undefined)
    throw new UsageError('--slots is --capacity slots=…: give one');
  return slots ?? Number(declared ?? 1n);
}

function parseId(text: string): string {
  if (!agentId.test(text))
    throw new InvalidArgumentError(
      '1 to 128 of [A-Za-z0-9._-], beginning and ending with a letter or digit.',
    );
  return text;
}

/** What sort of agent it is, unless it is said: the program's name. */
function kindOf([file = '']: readonly string[]): string {
  return basename(file)
    .replaceAll(/[^A-Za-z0-9._-]/g, '_')
    .slice(0, 64);
}

function readAuthorities(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new UsageError(`cannot read --ca-file ${file}: ${code}`);
  }
}
