import { type Command, InvalidArgumentError } from 'commander';
import type { CommandOptions, FillingOptions, StoreArgument, Verified } from '../../store-admin/commands.ts';
import type { Context, Runner } from '../context.ts';
import { type ExitCode, exitCodes, UsageError } from '../errors.ts';
import { bad, plain, warn } from '../output/text.ts';
import { renderBackedUp, renderMoved, renderVerified, type StoreNames } from './store-output.ts';
import { createProgress } from './store-progress.ts';

interface Options {
  config?: string;
  database?: string[];
  keyPrefix?: string;
  toKeyPrefix?: string;
  force?: boolean;
  minEpoch?: bigint;
  json?: boolean;
}

type StoreAdmin = typeof import('../../store-admin/commands.ts');

/** All that a command of this group works with. */
interface Work {
  admin: StoreAdmin;
  context: Context;
  options: Options;
  common: CommandOptions;
  /** How `--key-prefix`, `--to-key-prefix` and the configuration apply to a store that was named. */
  argument: (store: string, side?: 'to') => StoreArgument;
}

/** `store copy|backup|restore|verify`: like `serve`, they open the stores themselves and need no service. */
export function addStoreCommands(program: Command, run: Runner): void {
  const store = program
    .command('store')
    .description('move, back up and compare stores; no service is needed');
  const define = (
    name: string,
    description: string,
    places: readonly [name: string, help: string][],
    work: (work: Work, first: string, second: string) => Promise<ExitCode>,
  ): Command => {
    const command = store.command(name).description(description);
    for (const [place, help] of places) command.argument(`<${place}>`, help);
    return command
      .option('--config <file>', 'where names of databases, key prefix and the store "config" are taken from')
      .option('--database <name>', 'only this logical database; repeatable', collect)
      .option('--key-prefix <prefix>', 'in Redis, instead of redis.key_prefix')
      .option('--json', 'the same as --output json')
      .action((first: string, second: string, options: Options, self: Command) =>
        run(self, (context) => prepare(context, options, (ready) => work(ready, first, second))),
      );
  };
  const storeHelp = 'lmdb:<directory>, redis://…, or "config"';

  filling(
    define(
      'copy',
      'copy a store into another, and compare',
      [
        ['from', `a store that no service writes to: ${storeHelp}`],
        ['to', 'an empty store'],
      ],
      copy,
    ),
  ).option('--to-key-prefix <prefix>', 'the same for the target alone');
  define(
    'backup',
    'write a store into a file; a service may be using it',
    [
      ['from', storeHelp],
      ['file', 'the file to make'],
    ],
    backup,
  ).option('-f, --force', 'replace the file if it exists');
  filling(
    define(
      'restore',
      'fill a store from a file, and compare',
      [
        ['file', 'a backup'],
        ['to', `an empty store: ${storeHelp}`],
      ],
      restore,
    ),
  );
  define(
    'verify',
    'say what differs between two stores or backups',
    [
      ['a', `${storeHelp}, or a file`],
      ['b', 'the same'],
    ],
    verify,
  ).option('--to-key-prefix <prefix>', 'the same for the second alone');
}

function filling(command: Command): Command {
  return command
    .option('-f, --force', 'replace what the target holds')
    .option(
      '--min-epoch <epoch>',
      'a store epoch that may have been used: the next one is higher',
      parseEpoch,
    );
}

async function copy({ admin, context, options, common, argument }: Work, from: string, to: string) {
  for (const name of [from, to])
    if (!admin.isStore(name)) throw new UsageError(noStore(name, 'store backup'));
  const names = namesOf(from, to);
  const moved = await admin.copyStore(argument(from), argument(to, 'to'), filled(common, options));
  renderMoved(context, { names, moved, doing: 'copied' });
  return exitCodes.ok;
}

async function backup({ admin, context, options, common, argument }: Work, from: string, file: string) {
  if (!admin.isStore(from)) throw new UsageError(noStore(from, 'store verify'));
  if (admin.isStore(file)) throw new UsageError('the second argument is a file; store copy fills a store');
  const force = options.force === true;
  const done = await admin.backUpStore(argument(from), file, { ...common, force });
  renderBackedUp(context, { names: namesOf(from, file), ...done });
  return exitCodes.ok;
}

async function restore({ admin, context, options, common, argument }: Work, file: string, to: string) {
  if (admin.isStore(file)) throw new UsageError('the first argument is a file; store copy reads a store');
  if (!admin.isStore(to)) throw new UsageError(noStore(to, 'store backup'));
  const moved = await admin.restoreStore(file, argument(to), filled(common, options));
  renderMoved(context, { names: namesOf(file, to), moved, doing: 'restored' });
  return exitCodes.ok;
}

async function verify({ admin, context, common, argument }: Work, a: string, b: string) {
  const verified: Verified = await admin.verifyStores(argument(a), argument(b, 'to'), common);
  renderVerified(context, { names: namesOf(a, b), ...verified });
  const same = verified.databases.every(({ differences }) => differences.length === 0);
  return same ? exitCodes.ok : exitCodes.failed;
}

/** Loads what the command needs, and turns what it throws into what commands end with. */
async function prepare(
  context: Context,
  options: Options,
  work: (work: Work) => Promise<ExitCode>,
): Promise<ExitCode> {
  const [admin, { loadConfig }, { ConfigError, formatConfigError }] = await Promise.all([
    import('../../store-admin/commands.ts'),
    import('../../config/load.ts'),
    import('../../config/errors.ts'),
  ]);
  const progress = createProgress(context.io.stderr);
  const asked: Context = options.json === true ? { ...context, format: 'json' } : context;
  const onNotice = (text: string): void => {
    progress.clear();
    context.note([warn('note: '), plain(text)]);
  };
  try {
    const { config } = loadConfig({ file: options.config, env: { ...context.io.env }, flags: {} });
    const argument = (store: string, side?: 'to'): StoreArgument => ({
      ...{ store, config },
      keyPrefix: (side === 'to' ? options.toKeyPrefix : undefined) ?? options.keyPrefix,
    });
    const { signal } = context;
    const common = { databases: options.database, signal, onProgress: progress.show, onNotice };
    return await work({ admin, context: finished(asked, progress.clear), options, common, argument });
  } catch (error) {
    progress.clear();
    if (error instanceof ConfigError) {
      context.note([bad('error: '), plain(error.message)]);
      for (const line of formatConfigError(error).split('\n')) context.note([plain(`  ${line}`)]);
      return exitCodes.usage;
    }
    if (!(error instanceof admin.StoreAdminError)) throw error;
    context.note([bad('error: '), plain(error.message)]);
    return codes[error.reason];
  }
}

const codes = {
  usage: exitCodes.usage,
  conflict: exitCodes.conflict,
  failed: exitCodes.failed,
  interrupted: exitCodes.interrupted,
} as const;

/** Takes the progress line away before anything else is printed. */
function finished(context: Context, clear: () => void): Context {
  return {
    ...context,
    print: (lines) => {
      clear();
      context.print(lines);
    },
    say: (line) => {
      clear();
      context.say(line);
    },
  };
}

const filled = (common: CommandOptions, options: Options): FillingOptions => ({
  ...common,
  force: options.force === true,
  minEpoch: options.minEpoch ?? 0n,
});

const namesOf = (from: string, to: string): StoreNames => ({ from, to });

/** Not the text itself: it may be a URL with a password and a mistake. */
const noStore = (text: string, instead: string): string =>
  text.includes('://')
    ? 'a store is lmdb:<directory>, redis://…, redis+sentinel://…, or these with rediss'
    : `${JSON.stringify(text.slice(0, 60))} is not a store (lmdb:<directory>, redis://…, "config"); for files there is ${instead}`;

const collect = (value: string, former: string[] = []): string[] => [...former, value];

function parseEpoch(text: string): bigint {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('write a whole number of at most 15 digits.');
  return BigInt(text);
}
