import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type CommitStateRequest,
  StateChange_Type,
  type StateEntry,
  StateEntrySchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import {
  type FakeService,
  type FakeServiceOptions,
  startFakeService,
  untilAborted,
} from '../support/fake-service.ts';
import { cli, startCli } from '../support/run-cli.ts';

let service: FakeService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

const entry = (key: string, text: string, revision = 7n): StateEntry =>
  create(StateEntrySchema, {
    namespace: 'default',
    key,
    revision,
    actor: 'ann',
    value: { data: { case: 'text', value: text } },
    updateTime: timestampFromMs(Date.now()),
  });

async function withState(state: NonNullable<FakeServiceOptions['state']>): Promise<string[]> {
  service = await startFakeService({ state });
  return ['--server', service.address, 'state'];
}

/** Runs `state put|remove …` and returns what was committed. */
async function committed(words: string[], stdin?: string): Promise<CommitStateRequest | string> {
  let request: CommitStateRequest | undefined;
  const start = await withState({
    commitState: (asked) => {
      request = asked;
      return { revision: 9n };
    },
  });
  const run = startCli([...start, ...words]);
  if (stdin !== undefined) run.type(stdin);
  run.endInput();
  const code = await run.ended;
  return code === 0 && request !== undefined ? request : `${code} ${run.stderr}`;
}

describe('state put and remove', () => {
  it.each<[string[], object]>([
    [
      ['put', 'k', 'v'],
      { key: 'k', operation: { case: 'put', value: { data: { case: 'text', value: 'v' } } } },
    ],
    [['put', 'k', 'a=b', '--if-absent'], { key: 'k', expectedRevision: 0n }],
    [['put', 'k=v', '--if-revision', '4'], { key: 'k', expectedRevision: 4n }],
    [['put', 'k', 'v', '--expire-after', '1m30s'], { key: 'k', expireAfter: { seconds: 90n } }],
    [
      ['put', 'k', '{"a": [1, null]}', '--json'],
      { operation: { value: { data: { case: 'json', value: { kind: { case: 'structValue' } } } } } },
    ],
    [
      ['remove', 'k', '--if-revision', '4'],
      { key: 'k', expectedRevision: 4n, operation: { case: 'remove' } },
    ],
  ])('%j', async (words, write) => {
    expect(await committed(words)).toMatchObject({ writes: [write] });
  });

  it('writes several entries at once', async () => {
    expect(await committed(['put', 'a=1', 'b=x=y'])).toMatchObject({
      writes: [
        { key: 'a', operation: { value: { data: { value: '1' } } } },
        { key: 'b', operation: { value: { data: { value: 'x=y' } } } },
      ],
    });
  });

  it('takes a value from stdin and from a file, as text where it is text', async () => {
    const value = (data: object) => ({ writes: [{ operation: { value: { data } } }] });
    expect(await committed(['put', 'k'], 'from stdin\n')).toMatchObject(
      value({ case: 'text', value: 'from stdin\n' }),
    );
    await service?.close();
    const directory = mkdtempSync(join(tmpdir(), 'orchestrator-test-'));
    try {
      const file = join(directory, 'value');
      writeFileSync(file, Buffer.from([0xff, 0, 1]));
      expect(await committed(['put', 'k', '--file', file])).toMatchObject(value({ case: 'binary' }));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it.each<[string[], string]>([
    [['put', 'k', '{a', '--json'], 'not JSON'],
    [['put', 'k', 'a', 'b'], 'one value'],
    [['put', 'k', 'v', '--if-absent', '--if-revision', '3'], 'only one'],
    [['put', 'a=1', 'b'], 'not KEY=VALUE: b'],
    [['put', 'k', 'v', '--file', 'f'], 'only one'],
    [['put', 'k', '--file', '/nowhere/at/all'], 'ENOENT'],
    [['remove', 'a', 'b', '--if-revision', '1'], 'one entry'],
  ])('refuses %j', async (words, why) => {
    const refused = await committed(words);
    expect(refused).toMatch(/^2 /);
    expect(refused).toContain(why);
  });

  it('ends with code 4 where somebody else was faster', async () => {
    const start = await withState({
      commitState: () => {
        throw new ConnectError('entry k has revision 8', Code.Aborted, {
          'error-reason': 'REVISION_MISMATCH',
        });
      },
    });
    expect(await cli([...start, 'put', 'k', 'v', '--if-absent'])).toMatchObject({ code: 4 });
  });
});

describe('state get, list and watch', () => {
  it('shows an entry, escaped for people and as it is for programs', async () => {
    const start = await withState({ getState: () => ({ entry: entry('k', 'a\u001b[2J') }) });
    expect((await cli([...start, 'get', 'k'])).stdout).toContain('a\\x1b[2J');
    expect((await cli([...start, 'get', 'k', '--value'])).stdout).toBe('a\u001b[2J');
    expect((await cli([...start, 'get', 'k', '--value'], { columns: 80 })).stdout).toBe('a\\x1b[2J\n');
    expect(JSON.parse((await cli([...start, 'get', 'k', '-o', 'json'])).stdout)).toMatchObject({
      entry: { key: 'k', value: { text: 'a\u001b[2J' }, revision: '7' },
    });
  });

  it('ends with code 3 where there is no entry', async () => {
    const start = await withState({
      getState: () => {
        throw new ConnectError('there is no entry k', Code.NotFound);
      },
    });
    expect(await cli([...start, 'get', 'k'])).toMatchObject({ code: 3 });
  });

  it('lists all pages under a prefix', async () => {
    const start = await withState({
      listState: ({ prefix, pageToken }) =>
        pageToken === ''
          ? { entries: [entry(`${prefix}a`, '1')], nextPageToken: 'p', revision: 9n }
          : { entries: [entry(`${prefix}b`, '2')], revision: 9n },
    });
    const { stdout } = await cli([...start, 'list', 'jobs/']);
    expect(stdout).toMatch(/^KEY .*\njobs\/a +1 +7 .*\njobs\/b +2 +7 /);
  });

  it('follows changes until Ctrl-C', async () => {
    const start = await withState({
      async *watchState(_request, { signal }) {
        yield { changes: [{ type: StateChange_Type.UPSERTED, entry: entry('a', '1') }] };
        yield { cursor: 'c', synced: true };
        yield {
          changes: [{ type: StateChange_Type.REMOVED, entry: entry('a', '', 8n) }],
          cursor: 'd',
          synced: true,
        };
        await untilAborted(signal);
      },
    });
    const run = startCli([...start, 'watch']);
    await run.shows('- a');
    run.interrupt();
    expect(await run.ended).toBe(130);
    expect(run.stdout).toBe(
      '+ a = 1  revision 7\nso it is now; changes follow as they happen\n- a  revision 8\n',
    );
  });
});
