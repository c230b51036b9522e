import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import {
  CommitStateResponseSchema,
  GetStateResponseSchema,
  type ListStateResponse,
  ListStateResponseSchema,
  type StateWriteSchema,
  WatchStateResponseSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, exitCodes, UsageError } from '../errors.ts';
import { renderEntry, stateCells, stateChangeLine, stateColumns } from '../output/state-cells.ts';
import { renderTable } from '../output/table.ts';
import { dim, good, plain, strong, warn } from '../output/text.ts';
import { parseCount, parsePositiveDuration, parseRevision } from '../parse.ts';
import { jsonPayload, payloadContent, readPayload, textPayload } from '../payload.ts';
import { withRequestId } from '../request-id.ts';
import { runWatch, watchNotices } from '../watch.ts';

type Write = MessageInitShape<typeof StateWriteSchema>;

interface WriteOptions {
  file?: string;
  json?: boolean;
  ifRevision?: bigint;
  ifAbsent?: boolean;
  expireAfter?: number;
  requestId?: string;
}

const pageSize = 500;

/** `state get|put|remove|list|watch` */
export function addStateCommands(program: Command, run: Runner): void {
  const state = program.command('state').description('entries that agents and operators share');

  state
    .command('get')
    .description('one entry, as the store has it now')
    .argument('<key>', 'its key')
    .option('--value', 'nothing but its value, as it is')
    .action((key: string, options: { value?: boolean }, command: Command) =>
      run(command, (context) => getEntry(context, key, options.value === true)),
    );

  state
    .command('put')
    .description('write an entry, or several at once')
    .argument('<words...>', 'a key and its value; or KEY=VALUE as often as wanted: all of them or none')
    .option('--file <file>', 'the value is in this file; - is stdin, as without any value')
    .option('--json', 'values are JSON, and are checked')
    .option('--if-revision <revision>', 'only if it has this revision', parseRevision)
    .option('--if-absent', 'only if there is none')
    .option('--expire-after <duration>', 'it goes by itself after this time', parsePositiveDuration)
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText(
      'after',
      `
Examples:
  orchestrator state put jobs/nightly/owner w1 --if-absent
  orchestrator state put limits --json '{"requests": 5}'
  orchestrator state put colour=blue mode=dark --expire-after 1h
  render | orchestrator state put pages/front

Code 4: it has another revision, or is there already.`,
    )
    .action((words: string[], options: WriteOptions, command: Command) =>
      run(command, async (context) =>
        commit(context, options, await putsOf(context, words, options), 'written'),
      ),
    );

  state
    .command('remove')
    .alias('rm')
    .description('remove entries, all of them or none')
    .argument('<key...>', 'their keys')
    .option('--if-revision <revision>', 'only if it has this revision', parseRevision)
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .action((keys: string[], options: WriteOptions, command: Command) =>
      run(command, (context) => commit(context, options, removesOf(keys, options), 'removed')),
    );

  state
    .command('list')
    .alias('ls')
    .description('entries by key')
    .argument('[prefix]', 'only keys that begin so')
    .option('--limit <count>', 'at most so many', parseCount(1, 1_000_000))
    .action((prefix: string | undefined, options: { limit?: number }, command: Command) =>
      run(command, (context) => listEntries(context, prefix ?? '', options.limit)),
    );

  state
    .command('watch')
    .description('entries as they are, then each change as it happens')
    .argument('[prefix]', 'only keys that begin so')
    .option('--cursor <cursor>', 'resume after it (from --output json)')
    .action((prefix: string | undefined, options: { cursor?: string }, command: Command) =>
      run(command, (context) => watchEntries(context, prefix ?? '', options.cursor ?? '')),
    );
}

async function getEntry(context: Context, key: string, valueOnly: boolean): Promise<void> {
  const { connection, namespace, call, io } = context;
  const response = await connection.state.getState({ namespace, key }, call);
  const { entry } = response;
  if (entry === undefined) throw new CommandError('the service answered without an entry');
  if (valueOnly) {
    const content = payloadContent(entry.value);
    // On a terminal others' bytes are shown escaped, as everywhere; a program gets them as they are.
    if (io.stdout.isTTY !== true) io.stdout.write(content);
    else
      context.say([plain(typeof content === 'string' ? content : Buffer.from(content).toString('base64'))]);
    return;
  }
  if (context.format === 'json') return context.json(GetStateResponseSchema, response, 'document');
  context.print(renderEntry(entry, context.style, Date.now()));
}

async function putsOf(context: Context, words: readonly string[], options: WriteOptions): Promise<Write[]> {
  const [first = '', value, ...more] = words;
  const json = options.json === true;
  if (!first.includes('=')) {
    if (more.length > 0) throw new UsageError('a key and one value, or KEY=VALUE as often as wanted');
    const payload = await readPayload(context.io, { argument: value, file: options.file, json });
    return [put(first, payload, options)];
  }
  if (options.file !== undefined) throw new UsageError('--file is of one key: leave "=" out');
  if (words.length > 1 && options.ifRevision !== undefined)
    throw new UsageError('--if-revision is of one entry');
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at < 1) throw new UsageError(`not KEY=VALUE: ${word}`);
    const text = word.slice(at + 1);
    return put(word.slice(0, at), json ? jsonPayload(text) : textPayload(text), options);
  });
}

function put(key: string, value: ReturnType<typeof textPayload>, options: WriteOptions): Write {
  const { ifRevision, ifAbsent, expireAfter } = options;
  if (ifAbsent === true && ifRevision !== undefined)
    throw new UsageError('--if-absent and --if-revision: only one of them');
  const expectedRevision = ifAbsent === true ? 0n : ifRevision;
  return {
    key,
    operation: { case: 'put', value },
    ...(expectedRevision !== undefined && { expectedRevision }),
    ...(expireAfter !== undefined && { expireAfter: durationFromMs(expireAfter) }),
  };
}

function removesOf(keys: readonly string[], { ifRevision }: WriteOptions): Write[] {
  if (keys.length > 1 && ifRevision !== undefined) throw new UsageError('--if-revision is of one entry');
  return keys.map((key) => ({
    key,
    operation: { case: 'remove', value: true },
    ...(ifRevision !== undefined && { expectedRevision: ifRevision }),
  }));
}

async function commit(context: Context, options: WriteOptions, writes: Write[], done: string): Promise<void> {
  const { connection, namespace, call } = context;
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.state.commitState({ namespace, writes, requestId }, call),
  );
  if (context.format === 'json') return context.json(CommitStateResponseSchema, response, 'document');
  const what = writes.map(({ key }) => key).join(', ');
  context.say([good(`${done}: `), strong(what), dim(` at revision ${response.revision}`)]);
}

async function listEntries(
  context: Context,
  prefix: string,
  limit = Number.POSITIVE_INFINITY,
): Promise<void> {
  const { connection, namespace, call } = context;
  const all: ListStateResponse = create(ListStateResponseSchema);
  do {
    const size = Math.min(pageSize, limit - all.entries.length);
    const page = await connection.state.listState(
      { namespace, prefix, pageSize: size, pageToken: all.nextPageToken },
      call,
    );
    all.entries.push(...page.entries);
    all.nextPageToken = page.nextPageToken;
    all.revision = page.revision;
  } while (all.nextPageToken !== '' && all.entries.length < limit);
  if (context.format === 'json') return context.json(ListStateResponseSchema, all, 'document');
  if (all.entries.length === 0) return context.note([dim('no entries match')]);
  const nowMs = Date.now();
  const rows = all.entries.map((entry) => stateCells(entry, nowMs));
  context.print(renderTable(stateColumns, rows, context.style));
  if (all.nextPageToken !== '') context.note([dim('there are more: raise --limit')]);
}

async function watchEntries(context: Context, prefix: string, cursor: string): Promise<number> {
  const { connection, namespace, signal, timeoutMs } = context;
  const json = context.format === 'json';
  let synced = cursor !== '';
  await runWatch({
    open: (from, stop) => connection.state.watchState({ namespace, prefix, cursor: from }, { signal: stop }),
    cursorOf: (response) => response.cursor,
    receive: (response) => {
      if (json) return context.json(WatchStateResponseSchema, response, 'line');
      for (const change of response.changes) context.say(stateChangeLine(change));
      if (response.synced && !synced) context.say([dim('so it is now; changes follow as they happen')]);
      synced ||= response.synced;
    },
    ...watchNotices(context),
    restart: json
      ? undefined
      : () => {
          synced = false;
          context.note([warn('the change log no longer reaches back that far: '), plain('all entries anew')]);
        },
    signal,
    firstWithinMs: timeoutMs,
    cursor,
  });
  return exitCodes.interrupted;
}
