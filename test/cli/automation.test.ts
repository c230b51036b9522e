import { create, fromJson } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type ConfirmLossRequest,
  ConfirmLossResponseSchema,
  type SetAutomationRequest,
  SetAutomationResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type SystemStatus,
  SystemStatus_State,
  SystemStatusSchema,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { type FakeService, type FakeServiceOptions, startFakeService } from '../support/fake-service.ts';
import { type CliRunOptions, cli, startCli } from '../support/run-cli.ts';
import { sampleTimeMs as nowMs } from '../support/sample-agents.ts';

let service: FakeService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

async function begin(argv: string[], fake: FakeServiceOptions, options: CliRunOptions = {}) {
  await service?.close();
  service = await startFakeService(fake);
  return startCli(['--server', service.address, ...argv], { env: { NO_COLOR: '1' }, ...options });
}
async function run(argv: string[], fake: FakeServiceOptions, options: CliRunOptions = {}) {
  const started = await begin(argv, fake, options);
  const code = await started.ended;
  return { code, stdout: started.stdout, stderr: started.stderr };
}

const braked = (changes: Partial<SystemStatus> = {}): SystemStatus =>
  create(SystemStatusSchema, {
    time: timestampFromMs(nowMs),
    state: SystemStatus_State.DEGRADED,
    orchestratorId: 'o1',
    brakes: [
      {
        namespace: 'default',
        zone: 'zone-a',
        startTime: timestampFromMs(nowMs - 252_000),
        failing: 30,
        agents: 50,
        threshold: 0.5,
        held: 28,
        releaseIn: durationFromMs(1_500_000),
        detail: 'most of the zone fell silent within 2 s',
      },
    ],
    freezes: [
      {
        namespace: 'lab',
        actor: 'anonymous',
        reason: 'maintenance\u001b[2J',
        startTime: timestampFromMs(nowMs - 240_000),
        endTime: timestampFromMs(nowMs + 3_360_000),
      },
    ],
    pendingDeliveries: 12,
    ...(changes as object),
  });

describe('status', () => {
  it('shows brakes and freezes first, with what to type next', async () => {
    const { stdout } = await run(['status'], { status: braked() });
    const [, held = ''] = stdout.split('\n\n');
    expect(held.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/, 'DATE')).toBe(
      [
        'BRAKE on in zone zone-a of namespace default for 4m12s',
        '  30 of 50 agents in trouble, 60% (brake from 50%)',
        '  most of the zone fell silent within 2 s',
        '  28 actions wait; they go on by themselves in 25m00s if it lasts',
        '  if the loss is real:',
        "    orchestrator losses confirm --zone zone-a --reason '…'",
        'FROZEN: no automatic action in namespace lab',
        '  since DATE, for 56m00s more, by anonymous: maintenance\\x1b[2J',
        '  to let it go on:',
        '    orchestrator automation enable -n lab',
      ].join('\n'),
    );
    expect(stdout).toContain('deliveries  12 are not finished\n');
  });

  it('says that confirmed losses go on, and asks for no second confirmation', async () => {
    const status = braked();
    for (const brake of status.brakes) Object.assign(brake, { confirmed: 28, releaseIn: undefined });
    const { stdout } = await run(['status'], { status });
    expect(stdout).toContain('28 actions wait: confirmed, and going on at a limited rate\n');
    expect(stdout).not.toContain('losses confirm');
  });

  it('never cuts what is to be typed, and quotes what a shell would take apart', async () => {
    const status = braked();
    for (const brake of status.brakes) brake.zone = "z'; reboot #";
    const { stdout } = await run(['status', '--color', 'never'], { status }, { columns: 80 });
    expect(stdout).toContain(`losses confirm --zone 'z'\\''; reboot #' --reason '…'\n`);
    for (const line of stdout.split('\n')) expect([...line].length).toBeLessThanOrEqual(80);
  });

  it('does not repeat what the reasons say already', async () => {
    const reason = 'mass failure: most of the zone fell silent within 2 s';
    const { stdout } = await run(['status'], { status: braked({ reasons: [reason] }) });
    expect(stdout.match(/most of the zone/g)).toHaveLength(1);
  });

  it('says nothing of it while nothing is held back', async () => {
    const { stdout } = await run(['status'], {
      status: braked({ brakes: [], freezes: [], pendingDeliveries: 0 }),
    });
    expect(stdout).not.toMatch(/BRAKE|FROZEN|deliveries/);
  });
});

describe('losses confirm', () => {
  const confirms = (confirmed = 28) => {
    const seen: ConfirmLossRequest[] = [];
    const confirmLoss = (request: ConfirmLossRequest) => {
      seen.push(request);
      return { confirmed, revision: 9n };
    };
    return { seen, fake: { status: braked(), agent: { confirmLoss } } };
  };
  const confirm = ['losses', 'confirm', '--reason', 'the rack burnt down'];

  it('asks on a terminal and shows the brakes concerned, and does nothing without a yes', async () => {
    const { seen, fake } = confirms();
    const asks = await begin([...confirm, '--zone', 'zone-a'], fake, { columns: 100 });
    await asks.shows('the loss of all agents in trouble in zone zone-a of namespace default is real? [y/N]');
    expect(asks.stderr).toContain('BRAKE on in zone zone-a');
    expect(asks.stderr).toContain('28 actions wait');
    asks.type('no\n');
    expect(await asks.ended).toBe(1);
    expect(seen).toEqual([]);
  });

  it('confirms after a yes', async () => {
    const { seen, fake } = confirms();
    const asks = await begin([...confirm, '--zone', 'zone-a'], fake, { columns: 100 });
    await asks.shows('[y/N]');
    asks.type('y\n');
    expect(await asks.ended).toBe(0);
    expect(seen).toMatchObject([{ zone: 'zone-a', agentIds: [], reason: 'the rack burnt down' }]);
    expect(asks.stdout).toMatch(/^confirmed: the loss of 28 agents at revision 9/);
  });

  it('takes agents by name, and needs --yes where nobody can be asked', async () => {
    const { seen, fake } = confirms(1);
    const refused = await run([...confirm, 'a', 'b'], fake);
    expect([refused.code, seen.length]).toEqual([2, 0]);
    const { code, stdout } = await run([...confirm, 'a', 'b', '--yes', '-n', 'lab'], fake);
    expect(code).toBe(0);
    expect(seen).toMatchObject([{ namespace: 'lab', agentIds: ['a', 'b'], zone: '' }]);
    expect(stdout).toContain('the loss of 1 agent ');
    const json = await run([...confirm, '--yes', '-o', 'json'], fake);
    expect(fromJson(ConfirmLossResponseSchema, JSON.parse(json.stdout)).confirmed).toBe(1);
  });

  it('ends with code 4 if nothing is in trouble, and with 2 without a reason', async () => {
    const agent = {
      confirmLoss: () => {
        throw new ConnectError('no agent is in trouble', Code.FailedPrecondition);
      },
    };
    expect((await run([...confirm, '--yes'], { agent })).code).toBe(4);
    expect((await cli(['losses', 'confirm', '--yes'])).stderr).toContain('--reason');
  });
});

describe('automation', () => {
  const sets = () => {
    const seen: SetAutomationRequest[] = [];
    const setAutomation = (request: SetAutomationRequest) => {
      seen.push(request);
      return { enabled: request.enabled, revision: 9n };
    };
    return { seen, fake: { agent: { setAutomation } } };
  };

  it('is frozen for a time or until it is enabled', async () => {
    const { seen, fake } = sets();
    const freeze = ['automation', 'freeze', '--reason', 'maintenance'];
    expect((await run([...freeze, '--for', '1h'], fake)).stdout).toBe(
      'frozen: no automatic action for 1h00m in default at revision 9\n',
    );
    expect((await run([...freeze, '-n', 'lab'], fake)).stdout).toBe(
      'frozen: no automatic action until it is enabled in lab at revision 9\n',
    );
    expect(seen).toMatchObject([
      { enabled: false, reason: 'maintenance', duration: durationFromMs(3_600_000) },
      { enabled: false, namespace: 'lab' },
    ]);
    expect(seen[1]?.duration).toBeUndefined();
    expect((await cli(['automation', 'freeze'])).code).toBe(2);
  });

  it('is enabled again', async () => {
    const { seen, fake } = sets();
    const { stdout } = await run(['automation', 'enable'], fake);
    expect(stdout).toBe('enabled: automatic action goes on in default at revision 9\n');
    expect(seen).toMatchObject([{ enabled: true, reason: '' }]);
    const json = await run(['automation', 'enable', '-o', 'json'], fake);
    expect(fromJson(SetAutomationResponseSchema, JSON.parse(json.stdout)).enabled).toBe(true);
  });

  it('tells what holds it, or that nothing does', async () => {
    const held = await run(['automation', 'status'], { status: braked() });
    expect(held.stdout).toContain('BRAKE on in zone zone-a');
    expect(held.stdout).toContain('FROZEN: no automatic action in namespace lab');
    const free = await run(['automation', 'status', '-n', 'lab'], {
      status: braked({ brakes: [], freezes: [] }),
    });
    expect(free.stdout).toBe('on: automatic action is taken in lab, and nothing is held back\n');
  });
});
