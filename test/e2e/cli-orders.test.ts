import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type AgentHandle, type ConnectAgentOptions, connectAgent } from '../../src/client/index.ts';
import { type CliEnd, CliProcess } from '../support/cli-process.ts';
import { ServiceProcess } from '../support/service.ts';

let service: ServiceProcess;
const agents: AgentHandle[] = [];

beforeAll(async () => {
  service = await ServiceProcess.start({
    env: {
      ORCHESTRATOR_SESSION_PING_INTERVAL: '500ms',
      ORCHESTRATOR_SESSION_LEASE: '3s',
      ORCHESTRATOR_SESSION_FLUSH_INTERVAL: '500ms',
    },
  });
});
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.close();
});
afterAll(async () => {
  await service?.stop();
});

/** Words are told apart by blanks. */
const cli = (line: string): Promise<CliEnd> =>
  CliProcess.run(line.split(' '), { ORCHESTRATOR_SERVER: service.grpc });

async function attach(id: string, more: Partial<ConnectAgentOptions> = {}): Promise<AgentHandle> {
  const agent = await connectAgent({ server: service.grpc, id, spec: { kind: 'test' }, ...more });
  agents.push(agent);
  return agent;
}

describe('orders to real agents', () => {
  it('drain one that stops its work by and by, and give it work again', async () => {
    const running = ['job-1', 'job-2'];
    await attach('by-and-by', {
      onCommand: {
        drain: async (_command, controls) => {
          const ends = setInterval(() => running.shift(), 1_100);
          await controls.drained(() => running);
          clearInterval(ends);
        },
      },
    });
    const drained = await cli('agents drain by-and-by --reason update --wait');
    expect(drained.code).toBe(0);
    expect(drained.stdout).toMatch(
      /^by-and-by draining, (10m00s|9m\d\ds) left.*\nby-and-by drained: it said that its work has stopped \(\d\.\ds\)\n$/,
    );
    expect(drained.stderr).toContain('still running: job-2\n');
    expect((await cli('agents get by-and-by')).stdout).toMatch(
      /Drain\n {2}stands +drained: .*\n.*\n {2}reason +update/,
    );
    expect(await cli('agents resume by-and-by')).toMatchObject({
      code: 0,
      stdout: 'by-and-by resumed: it is ACTIVE\n',
    });
    expect((await cli('agents resume by-and-by')).code).toBe(4);
  });

  it('say of one that refuses, and of one that never stops, that it is not so', async () => {
    await attach('refuses', {
      onCommand: {
        drain: () => {
          throw new Error('busy');
        },
      },
    });
    await attach('goes-on', {
      onCommand: {
        drain: async (_command, controls) => {
          await controls.accept({ running: ['for ever'] });
          await new Promise((_resolve, reject) =>
            controls.signal.addEventListener('abort', () => reject(new Error('taken back')), { once: true }),
          );
        },
      },
    });
    const { code, stdout, stderr } = await cli('agents drain refuses goes-on --deadline 2s --wait');
    expect(code).toBe(1);
    expect(stdout).toContain('refuses not drained: it refused: busy\n');
    expect(stdout).toContain(
      'goes-on drained by its deadline, it did not say that its work has stopped: still running: for ever',
    );
    expect(stderr).toContain('0 of 2 done, 2 failed\n');
    expect((await cli('agents list --phase drained')).stdout).toMatch(
      /^goes-on .* by deadline, may still work$/m,
    );
  });

  it('restart by the supervisor, stop with a goodbye, and set aside', async () => {
    await attach('boss', { onCommand: { restart: () => {} } });
    await attach('worker', { spec: { kind: 'test', relationships: [{ type: 2, agentId: 'boss' }] } });
    const restarted = await cli('agents restart worker --wait');
    expect(restarted).toMatchObject({ code: 0 });
    expect(restarted.stdout).toMatch(/worker restarted by boss \(.*\)\n$/);

    expect((await cli('agents quarantine worker --for 1h --reason odd')).stdout).toMatch(
      /^worker set aside until .*, 1h00m left: odd, by anonymous\n$/,
    );
    expect((await cli('agents list --phase quarantined')).stdout).toMatch(/^worker .* left: odd$/m);

    const stopped = await cli('agents stop worker --wait');
    expect(stopped).toMatchObject({ code: 0 });
    expect(stopped.stdout).toMatch(/worker stopped: it said goodbye\n$/);
    expect((await cli('agents restart worker')).code).toBe(4);
  });

  it('reach all that match, of which each has its own answer', async () => {
    for (const id of ['m-1', 'm-2', 'm-3']) await cli(`agents register ${id} --label match=yes`);
    await cli('agents stop m-2');
    const { code, stdout, stderr } = await cli('agents drain -l match=yes --yes');
    expect(code).toBe(1);
    expect(stdout.trim().split('\n').sort()).toEqual([
      'm-1 drained: no process of it was there to run anything',
      'm-3 drained: no process of it was there to run anything',
    ]);
    expect(stderr).toMatch(/^3 agents match:\n/);
    expect(stderr).toContain('error: m-2: ');
    expect(stderr).toContain('(PHASE_REFUSED)');
  });
});

describe('agents update', () => {
  it('changes what is named, one part of the failure policy after the other, and nothing else', async () => {
    await cli('agents register changed --label a=1 --label b=2 --on-loss keep');
    expect((await cli('agents update changed --label a- --label c=3 --max-restarts 3')).code).toBe(0);
    expect((await cli('agents update changed --no-quarantine')).code).toBe(0);
    const { stdout } = await cli('agents get changed');
    expect(stdout).toMatch(/labels +b=2,c=3\n/);
    expect(stdout).toMatch(
      /on loss +its work waits for it\nrestart +at most 3 in a row\nquarantine +never\n/,
    );
    expect((await cli('agents update changed --kind x --expected-revision 1')).code).toBe(4);
  });
});

describe('automation', () => {
  it('is frozen with a reason, which its event tells, and enabled again', async () => {
    expect((await cli('automation freeze -n lab --for 1h --reason maintenance')).stdout).toMatch(
      /^frozen: no automatic action for 1h00m in lab at revision \d+\n$/,
    );
    expect((await cli('events -n lab --type automation.frozen')).stdout).toContain('maintenance');
    expect((await cli('automation enable -n lab')).code).toBe(0);
    expect((await cli('losses confirm -n lab --reason test --yes')).code).toBe(4);
  });
});
