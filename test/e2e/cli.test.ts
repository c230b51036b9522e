import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type CliEnd, CliProcess } from '../support/cli-process.ts';
import { ServiceProcess } from '../support/service.ts';
import { SimAgent } from '../support/sim-agent.ts';

let service: ServiceProcess;
let folder: string;
let watch: CliProcess | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'orchestrator-cli-'));
  service = await ServiceProcess.start({
    env: {
      ORCHESTRATOR_SESSION_PING_INTERVAL: '500ms',
      ORCHESTRATOR_SESSION_LEASE: '2s',
      ORCHESTRATOR_SESSION_FLUSH_INTERVAL: '500ms',
    },
  });
});
afterEach(async () => {
  await watch?.stop();
  watch = undefined;
});
afterAll(async () => {
  await service?.stop();
  rmSync(folder, { recursive: true });
});

const env = () => ({ ORCHESTRATOR_SERVER: service.grpc });
const cli = (line: string): Promise<CliEnd> => CliProcess.run(line.split(' '), env());

describe('the CLI against a running service', () => {
  it('registers, lists, shows, explains and deregisters an agent, and the events tell it', async () => {
    const registered = await cli(
      'agents register first --kind summarizer --capability summarize --label tier=web',
    );
    expect(registered).toMatchObject({ code: 0 });
    expect(registered.stdout).toMatch(/^\S{20,}\n$/);

    expect((await cli('agents list -l tier=web')).stdout).toMatch(
      /first +summarizer +REGISTERED +NEVER_SEEN +– +– +– +–/,
    );
    expect((await cli('agents get first')).stdout).toContain('none: no session was ever measured');
    expect((await cli('agents explain first')).stdout).toContain('first is NEVER_SEEN');
    expect(JSON.parse((await cli('agents get first -o json')).stdout).agent.liveness).toBe(
      'LIVENESS_NEVER_SEEN',
    );

    expect(await cli('agents get nobody')).toMatchObject({ code: 3, stdout: '' });
    const refused = await cli('agents register a/b --kind !');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('agent_id');
    expect(refused.stderr).toContain('spec.kind');

    expect((await cli('agents deregister first')).code).toBe(2);
    expect((await cli('agents deregister first --yes --reason retired')).code).toBe(0);
    expect((await cli('agents get first')).code).toBe(3);
    const events = await cli('events --agent first');
    expect(events.stdout.indexOf('agent.deregistered')).toBeGreaterThan(0);
    expect(events.stdout.indexOf('agent.deregistered')).toBeLessThan(
      events.stdout.indexOf('agent.registered'),
    );
  });

  it('shows a connected agent as healthy, and once it is lost never again', async () => {
    const agent = new SimAgent({ via: service.grpc, id: 'worker' });
    const session = await agent.join();
    await watchFor('agents watch', 'worker  ACTIVE CONNECTED');
    await expect
      .poll(async () => (await cli('agents list')).stdout, { timeout: 20_000 })
      .toMatch(/worker .*CONNECTED +1\.00 /);
    session.manner.answering = false;
    await watch?.shows('→ LOST');
    agent.close();
    const { stdout } = await cli('agents list');
    expect(stdout).toMatch(/worker .*LOST +– +– +– .* old/);
    const explained = await cli('agents explain worker');
    expect(explained.stdout).toContain('worker is LOST');
    expect(explained.stdout).toContain('observer');
  });

  it('resumes a watch after the service was killed and started again', async () => {
    await watchFor('agents watch', 'changes follow');
    await service.restart();
    await watch?.shows('connected again');
    await cli('agents register after-restart');
    await watch?.shows('+ after-restart');
    watch?.signal('SIGINT');
    expect(await watch?.ended()).toMatchObject({ code: 130 });
    expect(watch?.stdout.match(/\+ worker/g)).toHaveLength(1);
  });

  it('follows events', async () => {
    await watchFor('events --follow --type agent.registered --limit 1', 'agent.registered');
    await cli('agents register followed');
    await watch?.shows('followed');
    watch?.signal('SIGTERM');
    expect(await watch?.ended()).toMatchObject({ code: 130, stderr: '' });
  });

  it('shows status and configuration', async () => {
    const status = await cli('status');
    expect(status.stdout).toMatch(/lmdb available .*durability disk/);
    expect(JSON.parse((await cli('status -o json')).stdout).status.store.kind).toBe('lmdb');
    const shown = await cli('config show');
    expect(shown.stdout).toMatch(/session\.lease +2s? +env:ORCHESTRATOR_SESSION_LEASE/);
  });

  it('completes the ids of agents in bash', () => {
    const script = [
      'orchestrator() { node "$CLI" "$@"; }',
      'source <(orchestrator completion bash)',
      'COMP_WORDS=(orchestrator agents get follo); COMP_CWORD=3; _orchestrator',
      'echo "$COMPREPLY"',
    ].join('\n');
    const CLI = resolve('dist/src/cli/main.js');
    const { stdout, stderr, error } = spawnSync('bash', ['--norc', '-c', script], {
      env: { ...process.env, ...env(), CLI },
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect({ stdout, stderr, error }).toEqual({ stdout: 'followed\n', stderr: '', error: undefined });
  });

  it('ends quietly when its reader has enough', async () => {
    await watchFor('agents watch -o json', '"synced":true');
    watch?.hangUp();
    await cli('agents register one-more');
    expect(await watch?.ended()).toMatchObject({ code: 0, stderr: '' });
  });
});

async function watchFor(line: string, text: string): Promise<void> {
  watch = CliProcess.start(line.split(' '), env());
  await watch.shows(text);
}

describe('orchestrator serve', () => {
  it('runs the service until it is told to leave', async () => {
    watch = CliProcess.start(
      [
        'serve',
        '--grpc.listen=127.0.0.1:0',
        '--http.listen',
        '127.0.0.1:0',
        `--store=lmdb:${join(folder, 'data')}`,
      ],
      { ORCHESTRATOR_LOG_FORMAT: 'json' },
    );
    await watch.shows('"ready"');
    watch.signal('SIGTERM');
    expect((await watch.ended()).code).toBe(0);
  });

  it('ends with code 2 and every mistake of a faulty configuration', async () => {
    const file = join(folder, 'bad.yaml');
    writeFileSync(file, 'orchestrator:\n  nmae: x\n');
    const { code, stderr } = await CliProcess.run(['serve', '--config', file, '--grpc.listen=nowhere']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/bad\.yaml:2/);
    expect(stderr).toContain('--grpc.listen');
  });
});
