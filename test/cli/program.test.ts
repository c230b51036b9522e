import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { parseServer } from '../../src/cli/client.ts';
import { type FakeService, startFakeService, untilAborted } from '../support/fake-service.ts';
import { cli } from '../support/run-cli.ts';
import { sampleAgent } from '../support/sample-agents.ts';

let service: FakeService | undefined;
let folder: string | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
  if (folder !== undefined) rmSync(folder, { recursive: true });
  folder = undefined;
});

describe('the command line', () => {
  it.each([
    ['--version', 0, 'stdout', /^\d+\.\d+\.\d+\n$/],
    ['--help', 0, 'stdout', /Usage: orchestrator/],
    ['help agents', 0, 'stdout', /list\|ls/],
    ['help events', 0, 'stdout', /--follow/],
    ['', 2, 'stderr', /Usage: orchestrator/],
    ['agents', 2, 'stderr', /Usage: orchestrator agents/],
    ['stauts', 2, 'stderr', /Did you mean status/],
    ['agents get', 2, 'stderr', /missing required argument 'agent'/],
    ['agents list --liveness ill', 2, 'stderr', /allowed: never_seen, connected/i],
    ['agents list --timeout 0s', 2, 'stderr', /more than zero/],
    ['agents list -o yaml', 2, 'stderr', /table, wide, json/],
    ['--server ftp://x agents list', 2, 'stderr', /the server must be/],
    ['--server http://u:p@x agents list', 2, 'stderr', /must not hold a user or password/],
    ['--ca-file ca.pem agents list', 2, 'stderr', /needs a server that begins with https/],
    ['completion tcsh', 2, 'stderr', /allowed: bash, zsh, fish/],
    ['events --cursor x', 2, 'stderr', /needs --follow/],
    ['help automation', 0, 'stdout', /freeze .*no automatic action/],
    ['losses', 2, 'stderr', /Usage: orchestrator losses/],
    ['losses confirm', 2, 'stderr', /required option '--reason/],
    ['agents drian x', 2, 'stderr', /Did you mean drain/],
  ] as const)('answers "%s" with code %i on %s', async (line, code, stream, words) => {
    const run = await cli(line === '' ? [] : line.split(' '));
    expect(run.code).toBe(code);
    expect(run[stream]).toMatch(words);
    expect(run[stream === 'stdout' ? 'stderr' : 'stdout']).toBe('');
  });

  it.each([
    ['host', 'http://host:50051'],
    ['host:1234', 'http://host:1234'],
    ['host:80', 'http://host'],
    ['[::1]:1234', 'http://[::1]:1234'],
    ['https://host', 'https://host:50051'],
    ['https://host:443', 'https://host'],
    ['http://host:9/', 'http://host:9'],
  ])('takes %s for the server %s', (text, origin) => {
    expect(parseServer(text).origin).toBe(origin);
  });

  it('takes server and namespace from the environment', async () => {
    const seen: string[] = [];
    service = await startFakeService({
      agent: {
        listAgents: ({ namespace }) => {
          seen.push(namespace);
          return {};
        },
      },
    });
    await cli(['agents', 'list'], {
      env: { ORCHESTRATOR_SERVER: service.address, ORCHESTRATOR_NAMESPACE: 'lab' },
    });
    expect(seen).toEqual(['lab']);
  });

  it('gives up a call after --timeout', async () => {
    service = await startFakeService({
      agent: {
        getAgent: async (_request, { signal }) => {
          await untilAborted(signal);
          return {};
        },
      },
    });
    const { code, stderr } = await cli([
      '--server',
      service.address,
      '--timeout',
      '100ms',
      'agents',
      'get',
      'a',
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain('(DEADLINE_EXCEEDED)\n  --timeout allows more time');
  });
});

/** Every command that does something, with the words that lead to it. */
describe('the help of each new command', () => {
  it.each([
    ...['drain', 'resume', 'restart', 'stop', 'quarantine', 'update'].map((name) => `agents ${name}`),
    'losses confirm',
    ...['status', 'freeze', 'enable'].map((name) => `automation ${name}`),
  ])('shows an example of %s', async (words) => {
    const { code, stdout } = await cli([...words.split(' '), '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`\n  orchestrator ${words}`);
  });
});

describe('config check', () => {
  it('shows what a correct file sets and where', async () => {
    folder = mkdtempSync(join(tmpdir(), 'orchestrator-cli-'));
    const file = join(folder, 'ok.yaml');
    writeFileSync(file, 'orchestrator:\n  name: Test\n  session:\n    lease: 40s\n');
    const { code, stdout } = await cli(['config', 'check', file]);
    expect(code).toBe(0);
    expect(stdout).toContain(`ok  ${file}\n`);
    expect(stdout).toMatch(/session\.lease +40s? +file:.*ok\.yaml:4/);
    expect(stdout).not.toContain('ping_interval');
    const json = JSON.parse((await cli(['config', 'check', file, '-o', 'json'])).stdout);
    expect(json.config.name).toBe('Test');
    expect(json.sources.name).toMatch(/^file:/);
  });

  it('tells every mistake on a line of its own and ends with code 2', async () => {
    folder = mkdtempSync(join(tmpdir(), 'orchestrator-cli-'));
    const file = join(folder, 'bad.yaml');
    writeFileSync(file, 'orchestrator:\n  nmae: Test\n  session:\n    lease: soon\n');
    const { code, stdout, stderr } = await cli(['config', 'check', file]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/bad\.yaml:2:.*nmae/);
    expect(stderr).toMatch(/bad\.yaml:4:.*session\.lease/);
  });

  it('does not take its own variables for mistakes', async () => {
    const env = { ORCHESTRATOR_SERVER: 'x:1', ORCHESTRATOR_NAMESPACE: 'lab', ORCHESTRATOR_AGENT_TOKEN: 't' };
    expect((await cli(['config', 'check'], { env })).code).toBe(0);
  });
});

describe('config show', () => {
  it('shows every key of the running service and where it came from', async () => {
    service = await startFakeService({
      monitoring: {
        getConfig: () => ({
          config: { name: 'Test', session: { lease: '30s' }, capabilities: ['monitoring'] },
          sources: { name: 'env:ORCHESTRATOR_NAME' },
        }),
      },
    });
    const { stdout } = await cli(['--server', service.address, 'config', 'show']);
    expect(stdout).toMatch(/name +Test +env:ORCHESTRATOR_NAME\n/);
    expect(stdout).toMatch(/session\.lease +30s +default\n/);
    expect(stdout).toMatch(/capabilities +monitoring +default\n/);
  });
});

describe('completion', () => {
  const words = async (...typed: string[]) => {
    const { code, stdout } = await cli([
      '--server',
      service?.address ?? '127.0.0.1:1',
      '__complete',
      '--',
      ...typed,
    ]);
    expect(code).toBe(0);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t')[0]);
  };

  it.each([
    [['ag'], ['agents']],
    [['agents', 'reg'], ['register']],
    [
      ['automation', ''],
      ['status', 'freeze', 'enable', 'help'],
    ],
    [['agents', 'list', '--lab'], []],
    [['agents', 'list', '--live'], ['--liveness']],
    [
      ['agents', 'list', '--liveness', 'l'],
      ['lost', 'left'],
    ],
    [
      ['agents', 'list', '--liveness', '=', 'l'],
      ['lost', 'left'],
    ],
    [
      ['agents', 'list', '--liveness', '='],
      ['never_seen', 'connected', 'suspect', 'disconnected', 'lost', 'left'],
    ],
    [['agents', 'list', '--liveness=lo'], ['--liveness=lost']],
    [['agents', 'list', '-l', 'x', '--ph'], ['--phase']],
    [['--server', 'x:1', 'statu'], ['status']],
    [['events', '--out'], ['--output']],
    [['-o', 'w'], ['wide']],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [['config', 'check', ''], []],
    [['agents', 'list', ''], []],
  ])('of %j is %j', async (typed, expected) => {
    expect(await words(...typed)).toEqual(expected);
  });

  it('knows the ids of agents, and leaves out what could do harm in a shell', async () => {
    service = await startFakeService({ agents: [sampleAgent('alpha'), sampleAgent('$(reboot)')] });
    expect(await words('agents', 'get', '')).toEqual(['alpha']);
    expect(await words('events', '--agent', 'al')).toEqual(['alpha']);
    expect(await words('agents', 'register', '')).toEqual([]);
    expect(await words('agents', 'get', 'alpha', '')).toEqual([]);
    expect(await words('agents', 'drain', 'beta', '--reason', 'x', 'al')).toEqual(['alpha']);
    expect(await words('losses', 'confirm', '')).toEqual(['alpha']);
  });

  it('knows the ids of tasks', async () => {
    service = await startFakeService({
      agents: [sampleAgent('alpha')],
      tasks: { listTasks: () => ({ tasks: [{ id: 't-1' }, { id: '`reboot`' }] }) },
    });
    expect(await words('tasks', 'explain', '')).toEqual(['t-1']);
    expect(await words('tasks', 'cancel', 't-9', 't')).toEqual(['t-1']);
    expect(await words('tasks', 'submit', 'sum', '--parent', '')).toEqual(['t-1']);
    expect(await words('resources', 'explain', '--task', 't')).toEqual(['t-1']);
    expect(await words('tasks', 'submit', 'sum', '--not-agent', '')).toEqual(['alpha']);
    expect(await words('resources', 'quotas', 's')).toEqual(['set']);
    expect(await words('tasks', 'submit', 'sum', '--on-loss', 'r')).toEqual(['replace', 'reconcile']);
  });

  it('offers nothing instead of an error when the service is away', async () => {
    expect(await words('agents', 'get', '')).toEqual([]);
  });
});
