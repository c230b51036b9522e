import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AcquireLockRequest } from '../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import { type FakeService, type FakeServiceOptions, startFakeService } from '../support/fake-service.ts';
import { cli, startCli } from '../support/run-cli.ts';

type LockMethods = NonNullable<FakeServiceOptions['locks']>;

let service: FakeService | undefined;
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'orchestrator-test-'));
});
afterEach(async () => {
  await service?.close();
  service = undefined;
  rmSync(directory, { recursive: true });
});

const refused = (reason: string, code: Code) => new ConnectError(reason, code, { 'error-reason': reason });

interface Calls {
  acquired: AcquireLockRequest[];
  renewed: bigint[];
  released: bigint[];
}

/** A service that grants the lock with token 7. */
async function granting(more: LockMethods = {}): Promise<{ start: string[]; calls: Calls }> {
  const calls: Calls = { acquired: [], renewed: [], released: [] };
  service = await startFakeService({
    locks: {
      acquireLock: (request) => {
        calls.acquired.push(request);
        return { lock: { name: request.name, held: true, fencingToken: 7n }, leaseLeft: { seconds: 30n } };
      },
      renewLock: ({ fencingToken }) => {
        calls.renewed.push(fencingToken);
        return {};
      },
      releaseLock: ({ fencingToken }) => {
        calls.released.push(fencingToken);
        return { revision: 3n };
      },
      ...more,
    },
  });
  return { start: ['--server', service.address, 'locks'], calls };
}

/** `locks run l … -- node -e <script>`; the script finds a file to write in `out`. */
const node = (script: string): string[] => [
  '--',
  process.execPath,
  '-e',
  `const out = ${JSON.stringify(join(directory, 'out'))}; const { writeFileSync } = require('node:fs'); ${script}`,
];
const written = () => readFileSync(join(directory, 'out'), 'utf8');

describe('locks list, get, acquire and release', () => {
  it('lists locks with their holders and tokens', async () => {
    const { start } = await granting({
      listLocks: () => ({
        locks: [{ name: 'l', held: true, holder: 'w\u001b', fencingToken: 9n, waiters: 2 }],
      }),
    });
    expect((await cli([...start, 'list'])).stdout).toMatch(/^LOCK .*\nl +held +w\\x1b +9 /);
  });

  it('prints the token of a grant alone, and gives it back with it', async () => {
    const { start, calls } = await granting();
    const taken = await cli([...start, 'acquire', 'l', '--holder', 'me', '--lease', '1m', '--wait', '5s']);
    expect(taken).toMatchObject({ code: 0, stdout: '7\n' });
    expect(calls.acquired).toMatchObject([
      { name: 'l', holder: 'me', lease: { seconds: 60n }, wait: { seconds: 5n } },
    ]);
    expect(await cli([...start, 'release', 'l', '--token', '7'])).toMatchObject({ code: 0 });
    expect(calls.released).toEqual([7n]);
  });

  it.each([
    ['LOCK_HELD', Code.DeadlineExceeded, 1],
    ['LOCK_LOST', Code.Aborted, 4],
  ] as const)('ends as it must where it is refused: %s', async (reason, code, exit) => {
    const fail = () => {
      throw refused(reason, code);
    };
    const { start } = await granting({ acquireLock: fail, releaseLock: fail });
    const words = reason === 'LOCK_HELD' ? ['acquire', 'l'] : ['release', 'l', '--token', '1'];
    expect(await cli([...start, ...words])).toMatchObject({ code: exit });
  });
});

describe('locks run', () => {
  it('gives the command its token, ends with its code, and gives the lock back', async () => {
    const { start, calls } = await granting();
    const script = node('writeFileSync(out, process.env.ORCHESTRATOR_FENCING_TOKEN); process.exit(3)');
    expect(await cli([...start, 'run', 'l', ...script])).toMatchObject({ code: 3 });
    expect(written()).toBe('7');
    expect(calls.released).toEqual([7n]);
  });

  it('renews while the command runs', async () => {
    const { start, calls } = await granting();
    const script = node('setTimeout(() => {}, 1000)');
    expect(await cli([...start, 'run', 'l', '--lease', '1s', ...script])).toMatchObject({ code: 0 });
    expect(calls.renewed.length).toBeGreaterThanOrEqual(2);
  });

  it('waits for the lock, and says for whom', async () => {
    let tries = 0;
    const { start, calls } = await granting({
      acquireLock: () => {
        tries += 1;
        if (tries === 1) throw refused('LOCK_HELD', Code.DeadlineExceeded);
        return { lock: { fencingToken: 8n } };
      },
    });
    const { code, stderr } = await cli([...start, 'run', 'l', ...node('')]);
    expect({ code, tries }).toEqual({ code: 0, tries: 2 });
    expect(stderr).toContain('waiting: LOCK_HELD');
    expect(calls.released).toEqual([8n]);
  });

  it('ends the command when the lock is lost, by force where it does not end, with code 4', async () => {
    const { start, calls } = await granting({
      renewLock: () => {
        throw refused('LOCK_LOST', Code.Aborted);
      },
    });
    const script = node(
      "process.on('SIGTERM', () => writeFileSync(out, 'asked')); setInterval(() => {}, 1000)",
    );
    const ended = await cli([...start, 'run', 'l', '--lease', '2s', '--kill-after', '200ms', ...script]);
    expect(ended).toMatchObject({ code: 4 });
    expect(ended.stderr).toContain('lost l');
    expect(written()).toBe('asked');
    expect(calls.released).toEqual([]);
  });

  it('takes a lease that nobody renews for lost', async () => {
    const { start } = await granting({
      renewLock: () => {
        throw new ConnectError('down', Code.Unavailable);
      },
    });
    const { code, stderr } = await cli([
      ...start,
      'run',
      'l',
      '--lease',
      '1s',
      ...node('setInterval(() => {}, 1000)'),
    ]);
    expect(code).toBe(4);
    expect(stderr).toContain('not renewed: down');
    expect(stderr).toContain('without a renewal that was acknowledged');
  });

  it('passes Ctrl-C on to the command, and gives the lock back', async () => {
    const { start, calls } = await granting();
    const run = startCli([...start, 'run', 'l', ...node('setInterval(() => {}, 1000)')]);
    await run.shows('fencing token 7');
    run.interrupt();
    expect(await run.ended).toBe(143);
    expect(calls.released).toEqual([7n]);
  });

  it('says that there is no such command, and gives the lock back', async () => {
    const { start, calls } = await granting();
    const { code, stderr } = await cli([...start, 'run', 'l', '--', '/nowhere/at/all']);
    expect(code).toBe(1);
    expect(stderr).toContain('cannot run /nowhere/at/all: ENOENT');
    expect(calls.released).toEqual([7n]);
  });
});
