import { hostname, userInfo } from 'node:os';
import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  AcquireLockResponseSchema,
  GetLockResponseSchema,
  type ListLocksResponse,
  ListLocksResponseSchema,
  ReleaseLockResponseSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError } from '../errors.ts';
import { lockCells, lockColumns, renderLock } from '../output/lock-cells.ts';
import { renderTable } from '../output/table.ts';
import { dim, good, strong } from '../output/text.ts';
import { formatDuration } from '../output/time.ts';
import { parseCount, parseDuration, parsePositiveDuration } from '../parse.ts';
import { textPayload } from '../payload.ts';
import { withRequestId } from '../request-id.ts';
import { runUnderLock } from './locks-run.ts';

interface TakeOptions {
  holder?: string;
  lease: number;
  wait?: number;
  lockDelay: number;
  value?: string;
  requestId?: string;
}

const pageSize = 500;

/** `locks list|get|acquire|release|run` */
export function addLockCommands(program: Command, run: Runner): void {
  const locks = program
    .command('locks')
    .alias('lock')
    .description('locks with fencing tokens: see, take, give back');

  locks
    .command('list')
    .alias('ls')
    .description('locks by name')
    .argument('[prefix]', 'only names that begin so')
    .option('--limit <count>', 'at most so many', parseCount(1, 1_000_000))
    .action((prefix: string | undefined, options: { limit?: number }, command: Command) =>
      run(command, (context) => listLocks(context, prefix ?? '', options.limit)),
    );

  locks
    .command('get')
    .description('one lock: who holds it, until when, with which token')
    .argument('<name>', 'its name')
    .action((name: string, _options: unknown, command: Command) =>
      run(command, async (context) => {
        const { connection, namespace, call } = context;
        const response = await connection.locks.getLock({ namespace, name }, call);
        if (context.format === 'json') return context.json(GetLockResponseSchema, response, 'document');
        if (response.lock === undefined) throw new CommandError('the service answered without a lock');
        context.print(renderLock(response.lock, context.style, Date.now()));
      }),
    );

  takeOptions(locks.command('acquire').description('take a lock for a lease, and print its fencing token'))
    .option('--wait <duration>', 'wait so long for it, at most 10m; default: not at all', parseDuration)
    .option('--value <text>', 'what others see in the lock')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .action((name: string, options: TakeOptions, command: Command) =>
      run(command, (context) => acquire(context, name, options)),
    );

  locks
    .command('release')
    .description('give a lock back')
    .argument('<name>', 'its name')
    .requiredOption('--token <token>', 'the fencing token of the grant', parseToken)
    .action((name: string, { token }: { token: bigint }, command: Command) =>
      run(command, async (context) => {
        const { connection, namespace, call } = context;
        const response = await connection.locks.releaseLock({ namespace, name, fencingToken: token }, call);
        if (context.format === 'json') return context.json(ReleaseLockResponseSchema, response, 'document');
        context.say([good('released: '), strong(name), dim(` at revision ${response.revision}`)]);
      }),
    );

  takeOptions(locks.command('run').description('run a command while a lock is held'))
    .argument('<command...>', 'the command and its arguments, after --')
    .usage('[options] <name> -- <command...>')
    .option('--wait <duration>', 'wait so long for it; default: as long as it takes', parseDuration)
    .addOption(duration('--kill-after <duration>', 'between SIGTERM and SIGKILL', '10s', 10_000))
    .addHelpText(
      'after',
      `
The command gets the fencing token in ORCHESTRATOR_FENCING_TOKEN: what it writes to should refuse lower ones than it has
seen. The lock is renewed while the command runs, and given back at its end. When it is lost the command is ended.

Exit codes: the command's own (128 + n for signal n); 4: the lock was lost; 1: not to be had in time, or no such command.

  orchestrator locks run jobs/nightly -- ./nightly.sh`,
    )
    .action((name: string, command: string[], options: TakeOptions & { killAfter: number }, self: Command) =>
      run(self, (context) =>
        runUnderLock(context, {
          name,
          command,
          holder: options.holder ?? `${ownName()}:${process.pid}`,
          leaseMs: options.lease,
          waitMs: options.wait ?? Number.POSITIVE_INFINITY,
          lockDelayMs: options.lockDelay,
          killAfterMs: options.killAfter,
        }),
      ),
    );
}

function takeOptions(command: Command): Command {
  return command
    .argument('<name>', 'its name')
    .option('--holder <name>', 'who takes it, for people; default: user@host')
    .addOption(duration('--lease <duration>', 'how long it is held without renewal', '30s', 30_000))
    .addOption(
      new Option('--lock-delay <duration>', 'after a lost holder nobody gets it for so long')
        .argParser(parseDuration)
        .default(0, '0s'),
    );
}

const duration = (flags: string, about: string, shown: string, ms: number): Option =>
  new Option(flags, about).argParser(parsePositiveDuration).default(ms, shown);

function parseToken(text: string): bigint {
  if (!/^\d{1,20}$/.test(text)) throw new InvalidArgumentError('write a fencing token: a whole number.');
  return BigInt(text);
}

/** Of visible ASCII, as the service wants it. */
function ownName(): string {
  let user = 'somebody';
  try {
    user = userInfo().username;
  } catch {
    // A process may run as a user without a name.
  }
  return `${user}@${hostname()}`.replaceAll(/[^\x21-\x7e]/g, '_').slice(0, 110);
}

async function listLocks(context: Context, prefix: string, limit = Number.POSITIVE_INFINITY): Promise<void> {
  const { connection, namespace, call } = context;
  const all: ListLocksResponse = create(ListLocksResponseSchema);
  do {
    const size = Math.min(pageSize, limit - all.locks.length);
    const page = await connection.locks.listLocks(
      { namespace, prefix, pageSize: size, pageToken: all.nextPageToken },
      call,
    );
    all.locks.push(...page.locks);
    all.nextPageToken = page.nextPageToken;
  } while (all.nextPageToken !== '' && all.locks.length < limit);
  if (context.format === 'json') return context.json(ListLocksResponseSchema, all, 'document');
  if (all.locks.length === 0) return context.note([dim('no locks match')]);
  const nowMs = Date.now();
  const rows = all.locks.map((lock) => lockCells(lock, nowMs));
  context.print(renderTable(lockColumns, rows, context.style));
  if (all.nextPageToken !== '') context.note([dim('there are more: raise --limit')]);
}

async function acquire(context: Context, name: string, options: TakeOptions): Promise<void> {
  const { connection, namespace, signal, timeoutMs } = context;
  const { lease, wait = 0, lockDelay, value } = options;
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.locks.acquireLock(
      {
        namespace,
        name,
        holder: options.holder ?? ownName(),
        lease: durationFromMs(lease),
        wait: durationFromMs(wait),
        lockDelay: durationFromMs(lockDelay),
        requestId,
        ...(value !== undefined && { value: textPayload(value) }),
      },
      { timeoutMs: timeoutMs + wait, signal },
    ),
  );
  if (context.format === 'json') return context.json(AcquireLockResponseSchema, response, 'document');
  context.say([strong(`${response.lock?.fencingToken ?? 0n}`)]);
  context.note([good('acquired: '), strong(name), dim(` for ${formatDuration(response.leaseLeft)}`)]);
}
