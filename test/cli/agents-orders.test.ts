import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import {
  type Agent,
  Agent_Liveness,
  Agent_Phase,
  Drain_State,
  Restart_State,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  AgentChange_Type,
  type DrainAgentRequest,
  DrainAgentRequestSchema,
  type WatchAgentsResponse,
  WatchAgentsResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type FakeService,
  type FakeServiceOptions,
  startFakeService,
  untilAborted,
} from '../support/fake-service.ts';
import { type CliRun, type CliRunOptions, cli, startCli } from '../support/run-cli.ts';
import { sampleAgent, sampleTimeMs } from '../support/sample-agents.ts';

let service: FakeService | undefined;
let started: CliRun | undefined;
afterEach(async () => {
  started?.interrupt();
  await started?.ended;
  started = undefined;
  await service?.close();
  service = undefined;
});

const at = (line: string) => ['--server', service?.address ?? '', ...line.split(' ')];
async function run(line: string, fake: FakeServiceOptions) {
  await service?.close();
  service = await startFakeService(fake);
  return cli(at(line));
}
async function start(line: string, fake: FakeServiceOptions, options: CliRunOptions = {}) {
  service = await startFakeService(fake);
  started = startCli(at(line), { env: { NO_COLOR: '1' }, ...options });
  return started;
}

/** The store's clock when an answer with a sample agent is made. */
const nowMs = sampleTimeMs;
const drain = (state: Drain_State, more: object = {}) => ({
  reason: 'update',
  startTime: timestampFromMs(nowMs - 3_200),
  deadlineTime: timestampFromMs(nowMs + 300_000),
  state,
  ...more,
});
const draining = (id: string, more: object = {}) =>
  sampleAgent(id, { phase: Agent_Phase.DRAINING, revision: 6n, drain: drain(Drain_State.RUNNING, more) });
const drained = (id: string, state: Drain_State, more: object = {}) =>
  sampleAgent(id, {
    phase: Agent_Phase.DRAINED,
    revision: 9n,
    drain: drain(state, { endTime: timestampFromMs(nowMs), ...more }),
  });

/** Answers drains, and a watch shows the agents given for each response in turn, then stays open. */
function drains(turns: readonly (readonly Agent[])[]) {
  const requests: DrainAgentRequest[] = [];
  const fake: FakeServiceOptions = {
    agent: {
      drainAgent: (request) => {
        requests.push(request);
        return { agent: draining(request.agentId), deliveryId: 'd-1' };
      },
      async *watchAgents(_request, { signal }) {
        let cursor = 0;
        for (const agents of turns) {
          yield news(agents, String(++cursor));
        }
        await untilAborted(signal);
      },
    },
  };
  return { requests, fake };
}

const news = (agents: readonly Agent[], cursor: string): WatchAgentsResponse =>
  create(WatchAgentsResponseSchema, {
    changes: agents.map((agent) => ({ type: AgentChange_Type.UPSERTED, agent })),
    cursor,
    synced: true,
  });

describe('orders to agents', () => {
  it('send all that was said, and answer how the agent is now', async () => {
    const { requests, fake } = drains([]);
    const { code, stdout, stderr } = await run(
      'agents drain web-1 --reason update --deadline 5m --mandatory --expected-revision 5 --request-id r-1 -n lab',
      fake,
    );
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: 'web-1 draining, 5m00s left\n',
      stderr: '',
    });
    expect(requests).toEqual([
      create(DrainAgentRequestSchema, {
        namespace: 'lab',
        agentId: 'web-1',
        reason: 'update',
        deadline: durationFromMs(300_000),
        mandatory: true,
        expectedRevision: 5n,
        requestId: 'r-1',
      }),
    ]);
  });

  it('say of each kind what it did', async () => {
    const seen: object[] = [];
    const keep = <Request extends object>(request: Request): Request => {
      seen.push(request);
      return request;
    };
    const fake: FakeServiceOptions = {
      agent: {
        resumeAgent: (request) => ({ agent: sampleAgent(keep(request).agentId) }),
        restartAgent: (request) => ({
          agent: sampleAgent(keep(request).agentId, {
            restart: { attempt: 2, byAgentId: 'boss', state: Restart_State.ORDERED },
          }),
        }),
        stopAgent: (request) => ({
          agent: sampleAgent(keep(request).agentId, { phase: Agent_Phase.STOPPED }),
        }),
        quarantineAgent: (request) => ({
          agent: sampleAgent(keep(request).agentId, {
            phase: Agent_Phase.QUARANTINED,
            quarantine: { reason: 'odd', actor: 'alice', endTime: timestampFromMs(nowMs + 600_000) },
          }),
        }),
      },
    };
    expect((await run('agents resume a', fake)).stdout).toBe('a resumed: it is ACTIVE\n');
    expect((await run('agents restart a --deadline 1m', fake)).stdout).toBe(
      'a restart ordered: boss was told, the 2nd time in a row\n',
    );
    expect((await run('agents stop a --deadline 0s', fake)).stdout).toBe(
      'a stopping: it is to finish and leave\n',
    );
    expect((await run('agents quarantine a --for 10m --reason odd', fake)).stdout).toMatch(
      /^a set aside until 2026-\S+ \S+, 10m00s left: odd, by alice\n$/,
    );
    expect(seen).toMatchObject([
      { reason: '' },
      { deadline: durationFromMs(60_000) },
      { deadline: durationFromMs(0) },
      { duration: durationFromMs(600_000), reason: 'odd' },
    ]);
  });

  it('go to each agent that is named, once, and one that fails holds up no other', async () => {
    const { requests, fake } = drains([]);
    const refused = new ConnectError('its phase is STOPPED', Code.FailedPrecondition, undefined, [
      { desc: ErrorInfoSchema, value: { reason: 'PHASE_REFUSED' } },
    ]);
    const { drainAgent } = fake.agent ?? {};
    const { code, stdout, stderr } = await run('agents drain a b a c', {
      agent: {
        drainAgent: (request, context) => {
          if (request.agentId === 'b') throw refused;
          return drainAgent?.(request, context) ?? {};
        },
      },
    });
    expect(code).toBe(1);
    expect(stdout.split('\n').sort()).toEqual(['', 'a draining, 5m00s left', 'c draining, 5m00s left']);
    expect(stderr).toBe('error: b: its phase is STOPPED (PHASE_REFUSED)\n2 of 3 done, 1 failed\n');
    expect(new Set(requests.map(({ requestId }) => requestId)).size).toBe(2);
  });

  it('to one agent end with the code of its error', async () => {
    const notFound = new ConnectError('there is no agent "a"', Code.NotFound);
    const agent = {
      stopAgent: () => {
        throw notFound;
      },
    };
    expect((await run('agents stop a', { agent })).code).toBe(3);
  });

  it('repeated with a request id of its own give each agent the same id again', async () => {
    const { requests, fake } = drains([]);
    await run('agents drain a b --request-id r', fake);
    await run('agents drain b a --request-id r', fake);
    const ids = (agentId: string) =>
      new Set(requests.filter((each) => each.agentId === agentId).map(({ requestId }) => requestId));
    expect([ids('a').size, ids('b').size, new Set([...ids('a'), ...ids('b')]).size]).toEqual([1, 1, 2]);
  });

  it('are not tried agent by agent when the service is away', async () => {
    service = await startFakeService();
    const { address } = service;
    await service.close();
    service = undefined;
    const names = Array.from({ length: 50 }, (_, index) => `a${index}`);
    const { code, stderr } = await cli(['--server', address, 'agents', 'drain', ...names]);
    expect(code).toBe(1);
    expect(stderr.match(/connection refused/g)).toHaveLength(1);
  });

  it('tell programs one object an agent and line, failures as well', async () => {
    const { stdout } = await run('agents drain a b -o json', {
      agent: {
        drainAgent: ({ agentId }) => {
          if (agentId === 'b') throw new ConnectError('no', Code.NotFound);
          return { agent: draining(agentId, { running: ['x\u001b[2J'] }) };
        },
      },
    });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toHaveLength(2);
    expect(lines.find(({ agentId }) => agentId === 'a')).toMatchObject({
      ok: true,
      outcome: 'draining, 5m00s left; still running: x\u001b[2J',
      agent: { phase: 'PHASE_DRAINING', drain: { state: 'STATE_RUNNING' } },
    });
    expect(lines.find(({ agentId }) => agentId === 'b')).toEqual({
      agentId: 'b',
      ok: false,
      error: { code: 'NOT_FOUND', reason: '', message: 'no' },
    });
  });

  it.each([
    ['agents drain', 'which agents?'],
    ['agents drain a -l tier=web', 'not both'],
    ['agents drain a b --expected-revision 5', 'is of one agent'],
    ['agents drain a --expected-revision -1', 'whole number'],
    ['agents drain a --deadline soon', 'duration'],
    ['agents quarantine a --for 0s', 'more than zero'],
    ['agents resume a --wait', 'unknown option'],
    ['agents stop a --mandatory', 'unknown option'],
  ])('refuse %s before they call the service', async (line, words) => {
    const { code, stderr } = await run(line, {});
    expect(code).toBe(2);
    expect(stderr).toContain(words);
  });
});

describe('orders to all agents that match', () => {
  const found = () => {
    const { requests, fake } = drains([]);
    const agents = [
      sampleAgent('a'),
      sampleAgent('b', { liveness: Agent_Liveness.LOST }),
      sampleAgent('c\u001b[2J'),
    ];
    return { requests, fake: { ...fake, agents } };
  };

  it('show them, ask, and leave them as they are on anything but a yes', async () => {
    const { requests, fake } = found();
    const asks = await start('agents drain -l tier=web', fake, { columns: 80 });
    await asks.shows('drain these 3 agents? [y/N]');
    expect(asks.stderr).toContain(
      '3 agents match:\n  ID        KIND        PHASE   LIVENESS\n' +
        '  a         summarizer  ACTIVE  CONNECTED\n' +
        '  b         summarizer  ACTIVE  LOST\n' +
        '  c\\x1b[2J  summarizer  ACTIVE  CONNECTED\n',
    );
    asks.type('\n');
    expect(await asks.ended).toBe(1);
    expect(requests).toEqual([]);
  });

  it('go to each of them after a yes', async () => {
    const { requests, fake } = found();
    const asks = await start('agents drain -l tier=web --liveness connected,lost', fake, { columns: 80 });
    await asks.shows('[y/N]');
    asks.type('y\n');
    expect(await asks.ended).toBe(0);
    expect(requests.map(({ agentId }) => agentId).sort()).toEqual(['a', 'b', 'c\u001b[2J']);
    expect(asks.stderr).toContain('3 of 3 done');
  });

  it('need --yes where nobody can be asked', async () => {
    const { requests, fake } = found();
    const refused = await run('agents drain -l tier=web', fake);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('add --yes to drain');
    expect(requests).toEqual([]);
    expect((await run('agents drain -l tier=web --yes', fake)).code).toBe(0);
    expect(requests).toHaveLength(3);
  });

  it('are none if nothing matches', async () => {
    const { code, stderr } = await run('agents drain -l tier=web', {});
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'no agents match\n' });
  });
});

describe('--wait', () => {
  it.each([
    [Drain_State.STOPPED, {}, 0, 'drained: it said that its work has stopped (3.2s)'],
    [
      Drain_State.DEADLINE_PASSED,
      { running: ['job-1', 'job\u00072'] },
      1,
      'drained by its deadline, it did not say that its work has stopped: still running: job-1, job\\x072 (3.2s)',
    ],
    [Drain_State.DECLINED, { error: 'busy' }, 1, 'not drained: it refused: busy'],
    [Drain_State.CANCELLED, {}, 1, 'not drained: it was given work again, or another order came'],
    [Drain_State.NOTHING_RAN, {}, 0, 'drained: no process of it was there to run anything'],
  ] as const)('says how a drain ended: state %i', async (state, more, code, words) => {
    const { fake } = drains([[draining('web-1')], [drained('web-1', state, more)]]);
    const waits = await start('agents drain web-1 --wait', fake);
    expect(await waits.ended).toBe(code);
    expect(waits.stdout).toBe(`web-1 draining, 5m00s left\nweb-1 ${words}\n`);
    expect(waits.stderr).toBe('');
  });

  it('tells what still runs as that shrinks, and nothing when it is the same', async () => {
    const { fake } = drains([
      [draining('web-1', { running: ['x', 'y'] })],
      [draining('web-1', { running: ['x', 'y'] })],
      [draining('web-1', { running: ['y'] })],
      [drained('web-1', Drain_State.STOPPED)],
    ]);
    const waits = await start('agents drain web-1 --wait', fake);
    expect(await waits.ended).toBe(0);
    expect(waits.stderr).toBe(
      'web-1 draining, 5m00s left; still running: x, y\nweb-1 draining, 5m00s left; still running: y\n',
    );
  });

  it('takes no news of before the order for its end', async () => {
    const old = sampleAgent('web-1', { revision: 5n, drain: drain(Drain_State.CANCELLED) });
    const { fake } = drains([[old], [drained('web-1', Drain_State.STOPPED)]]);
    const waits = await start('agents drain web-1 --wait', fake);
    expect(await waits.ended).toBe(0);
    expect(waits.stdout).not.toContain('given work again');
  });

  it('needs no watch when the answer says it all', async () => {
    const waits = await start('agents drain web-1 --wait', {
      agent: { drainAgent: () => ({ agent: drained('web-1', Drain_State.NOTHING_RAN) }) },
    });
    expect(await waits.ended).toBe(0);
    expect(waits.stdout).toBe('web-1 drained: no process of it was there to run anything\n');
  });

  it('goes on over a broken connection', async () => {
    let opened = 0;
    const { fake } = drains([]);
    const waits = await start('agents drain web-1 --wait', {
      agent: {
        ...fake.agent,
        async *watchAgents({ cursor }, { signal }) {
          opened++;
          if (cursor === '') yield news([draining('web-1')], 'c1');
          else yield news([drained('web-1', Drain_State.STOPPED)], 'c2');
          if (cursor === '') throw new ConnectError('leaving', Code.Unavailable);
          await untilAborted(signal);
        },
      },
    });
    expect(await waits.ended).toBe(0);
    expect(opened).toBe(2);
    expect(waits.stderr).toContain('connected again');
  });

  it('follows many, and tells of each when it ends', async () => {
    const { fake } = drains([
      [draining('a'), draining('b'), draining('other')],
      [drained('b', Drain_State.STOPPED)],
      [drained('a', Drain_State.DECLINED, { error: 'busy' })],
    ]);
    const waits = await start('agents drain a b --wait', fake);
    expect(await waits.ended).toBe(1);
    expect(waits.stdout.trimEnd().split('\n').slice(2)).toEqual([
      'b drained: it said that its work has stopped (3.2s)',
      'a not drained: it refused: busy',
    ]);
    expect(waits.stderr).toBe('1 of 2 done, 1 failed\n');
  });

  it('sees that an agent was deregistered, also while the watch was down', async () => {
    const { fake } = drains([[draining('other')]]);
    const waits = await start('agents drain web-1 --wait', fake);
    expect(await waits.ended).toBe(1);
    expect(waits.stdout).toContain('web-1 gone: it was deregistered meanwhile');
  });

  it('ends after --timeout with code 1, and says that the order goes on', async () => {
    const { fake } = drains([[draining('web-1')]]);
    const waits = await start('agents drain web-1 --wait --timeout 300ms', fake);
    expect(await waits.ended).toBe(1);
    expect(waits.stderr).toBe('web-1 has not ended yet; it goes on without this command\n');
  });

  it('ends on Ctrl-C with code 130', async () => {
    const { fake } = drains([[draining('web-1')], [draining('web-1', { running: ['x'] })]]);
    const waits = await start('agents drain web-1 --wait', fake);
    await waits.shows('still running: x');
    waits.interrupt();
    expect(await waits.ended).toBe(130);
  });

  const restarted = (state: Restart_State, more: object = {}) =>
    sampleAgent('t-1', {
      revision: 7n,
      restart: {
        attempt: 1,
        byAgentId: 'boss',
        state,
        startTime: timestampFromMs(nowMs - 2_000),
        updateTime: timestampFromMs(nowMs),
        ...more,
      },
    });

  it.each([
    [Restart_State.DONE, {}, 0, 't-1 restarted by boss (2.0s)'],
    [
      Restart_State.FAILED,
      { error: 'declined: no such file' },
      1,
      't-1 not restarted: the order to boss: declined: no such file',
    ],
  ] as const)('says how a restart ended: state %i', async (state, more, code, words) => {
    const waits = await start('agents restart t-1 --wait', {
      agent: {
        restartAgent: () => ({ agent: restarted(Restart_State.ORDERED) }),
        async *watchAgents(_request, { signal }) {
          yield news([restarted(state, more)], '1');
          await untilAborted(signal);
        },
      },
    });
    expect(await waits.ended).toBe(code);
    expect(waits.stdout).toBe(`t-1 restart ordered: boss was told\n${words}\n`);
  });

  const stopped = (liveness: Agent_Liveness, phase: Agent_Phase = Agent_Phase.STOPPED, rule = 'left') =>
    sampleAgent('w', { revision: 7n, phase, liveness, verdict: { rule } });

  it.each([
    [stopped(Agent_Liveness.LEFT), 0, 'w stopped: it said goodbye'],
    [
      stopped(Agent_Liveness.LEFT, Agent_Phase.STOPPED, 'stopped'),
      1,
      'w stopped by its deadline, it did not say goodbye: its session was ended, its process may still be there',
    ],
    [
      stopped(Agent_Liveness.DISCONNECTED),
      1,
      'w stopped without a goodbye: it has no session, its process may still be there',
    ],
    [stopped(Agent_Liveness.CONNECTED, Agent_Phase.ACTIVE), 1, 'w not stopped: it is ACTIVE again'],
  ] as const)('says how a stop ended (%#)', async (agent, code, words) => {
    const waits = await start('agents stop w --wait', {
      agent: {
        stopAgent: () => ({ agent: stopped(Agent_Liveness.CONNECTED) }),
        async *watchAgents(_request, { signal }) {
          yield news([agent], '1');
          await untilAborted(signal);
        },
      },
    });
    expect(await waits.ended).toBe(code);
    expect(waits.stdout).toBe(`w stopping: it is to finish and leave\n${words}\n`);
  });

  it('tells programs one line an agent, once it has ended', async () => {
    const { fake } = drains([[draining('a'), drained('b', Drain_State.STOPPED)]]);
    const waits = await start('agents drain a b --wait -o json --timeout 300ms', fake);
    expect(await waits.ended).toBe(1);
    const lines = waits.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ agentId, ok }) => [agentId, ok])).toEqual([
      ['b', true],
      ['a', false],
    ]);
  });
});
