import { create, fromJson } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Agent_Liveness,
  Agent_Phase,
  Drain_State,
  Restart_State,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  AgentChange_Type,
  type WatchAgentsRequest,
  WatchAgentsResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type Event,
  Event_Severity,
  EventSchema,
  SystemStatus_State,
  SystemStatusSchema,
  type WatchEventsRequest,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  type FakeService,
  type FakeServiceOptions,
  startFakeService,
  untilAborted,
} from '../support/fake-service.ts';
import { type CliRun, type CliRunOptions, cli, startCli } from '../support/run-cli.ts';
import { sampleAgent, sampleTimeMs } from '../support/sample-agents.ts';

let service: FakeService | undefined;
let run: CliRun | undefined;
afterEach(async () => {
  run?.interrupt();
  await run?.ended;
  await service?.close();
  run = undefined;
  service = undefined;
});

async function start(argv: string, fake: FakeServiceOptions, options: CliRunOptions = {}): Promise<CliRun> {
  service = await startFakeService(fake);
  run = startCli(['--server', service.address, ...argv.split(' ')], options);
  return run;
}

const upsert = (agent: ReturnType<typeof sampleAgent>) => ({ type: AgentChange_Type.UPSERTED, agent });
const suspect = sampleAgent('a', {
  liveness: Agent_Liveness.SUSPECT,
  verdict: { rule: 'phi', detail: 'two probes unanswered' },
});

describe('agents watch', () => {
  it('shows the snapshot and then what changes, and ends on Ctrl-C with code 130', async () => {
    const watch = await start('agents watch', {
      agent: {
        async *watchAgents(_request, { signal }) {
          yield { changes: [upsert(sampleAgent('a'))], cursor: '1', synced: true };
          yield { changes: [upsert(suspect)], cursor: '2', synced: true };
          yield {
            changes: [{ type: AgentChange_Type.REMOVED, agent: sampleAgent('a') }],
            cursor: '3',
            synced: true,
          };
          await untilAborted(signal);
        },
      },
    });
    await watch.shows('- a');
    watch.interrupt();
    expect(await watch.ended).toBe(130);
    const lines = watch.stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.slice(9));
    expect(lines).toEqual([
      '+ a  ACTIVE CONNECTED  summarizer  opened a session',
      '1 agent; changes follow as they happen',
      '~ a  CONNECTED → SUSPECT  two probes unanswered',
      '- a  deregistered, or matches no more',
    ]);
    expect(watch.stderr).toBe('');
  });

  it('tells what is ordered of agents and how that goes on', async () => {
    const drain = (state: Drain_State, running: string[] = []) => ({
      state,
      running,
      startTime: timestampFromMs(sampleTimeMs - 3_200),
      ...(state === Drain_State.RUNNING ? {} : { endTime: timestampFromMs(sampleTimeMs) }),
    });
    const turns = [
      sampleAgent('a'),
      sampleAgent('a', { phase: Agent_Phase.DRAINING, drain: drain(Drain_State.RUNNING) }),
      sampleAgent('a', { phase: Agent_Phase.DRAINING, drain: drain(Drain_State.RUNNING, ['x\u001b[2J']) }),
      sampleAgent('a', { phase: Agent_Phase.DRAINED, drain: drain(Drain_State.STOPPED) }),
      sampleAgent('a', { restart: { attempt: 1, byAgentId: 'boss', state: Restart_State.ORDERED } }),
      sampleAgent('a', {
        phase: Agent_Phase.QUARANTINED,
        quarantine: { reason: 'flaps', actor: 'rule:flapping' },
        restart: { attempt: 1, byAgentId: 'boss', state: Restart_State.FAILED, error: 'failed: no' },
      }),
    ];
    const watch = await start('agents watch', {
      agent: {
        async *watchAgents(_request, { signal }) {
          for (const agent of turns) yield { changes: [upsert(agent)], cursor: '1', synced: true };
          await untilAborted(signal);
        },
      },
    });
    await watch.shows('flaps');
    const lines = watch.stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.slice(9));
    expect(lines.slice(2)).toEqual([
      '~ a  ACTIVE → DRAINING, draining',
      '~ a  draining; still running: x\\x1b[2J',
      '~ a  DRAINING → DRAINED, drained: it said that its work has stopped (3.2s)',
      '~ a  DRAINED → ACTIVE, restart ordered: boss was told',
      '~ a  ACTIVE → QUARANTINED  flaps, by rule:flapping, not restarted: the order to boss: failed: no',
    ]);
  });

  it('resumes after its last cursor when the connection breaks, and says both', async () => {
    const requests: WatchAgentsRequest[] = [];
    const watch = await start('agents watch', {
      agent: {
        async *watchAgents(request, { signal }) {
          requests.push(request);
          if (request.cursor === '') {
            yield { changes: [upsert(sampleAgent('a'))], cursor: 'first', synced: true };
          } else {
            yield { changes: [upsert(suspect)], cursor: 'second', synced: true };
          }
          await untilAborted(signal);
        },
      },
    });
    await watch.shows('changes follow');
    service?.cut();
    await watch.shows('two probes unanswered');
    expect(requests.map(({ cursor }) => cursor)).toEqual(['', 'first']);
    expect(watch.stderr).toMatch(
      /^connection lost: .*; trying again in .*\nconnected again, resumed where it broke\n$/,
    );
    expect(watch.stdout.match(/\+ a/g)).toHaveLength(1);
  });

  it('compares with a new snapshot when its cursor is too old, so that nothing stays that is gone', async () => {
    const watch = await start('agents watch', {
      agent: {
        async *watchAgents({ cursor }, { signal }) {
          if (cursor !== '')
            throw new ConnectError('the cursor is older than the change log', Code.OutOfRange);
          const again = watchedOnce;
          watchedOnce = true;
          if (again) {
            yield { changes: [upsert(suspect)], cursor: '9', synced: true };
            await untilAborted(signal);
            return;
          }
          yield { changes: [upsert(sampleAgent('a')), upsert(sampleAgent('b'))], cursor: '1', synced: true };
        },
      },
    });
    await watch.shows('- b');
    expect(watch.stdout).toContain('~ a  CONNECTED → SUSPECT');
    expect(watch.stderr).toContain('comparing with a new snapshot');
  });
  let watchedOnce = false;

  it('takes up a snapshot that broke in the middle without showing an agent twice or keeping one that is gone', async () => {
    let tries = 0;
    const watch = await start('agents watch', {
      agent: {
        async *watchAgents(_request, { signal }) {
          if (tries++ === 0) {
            yield { changes: [upsert(sampleAgent('a')), upsert(sampleAgent('b'))] };
            throw new ConnectError('leaving', Code.Unavailable);
          }
          yield { changes: [upsert(sampleAgent('a')), upsert(sampleAgent('c'))], cursor: '9', synced: true };
          await untilAborted(signal);
        },
      },
    });
    await watch.shows('changes follow');
    const lines = watch.stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.slice(9));
    expect(lines.map((line) => line.slice(0, 8))).toEqual([
      '+ a  ACT',
      '+ b  ACT',
      '+ c  ACT',
      '- b  der',
      '2 agents',
    ]);
  });

  it('fails for programs when its cursor is too old, because they keep the state themselves', async () => {
    const watch = await start('agents watch -o json --cursor old', {
      agent: {
        // biome-ignore lint/correctness/useYield: it refuses at once
        async *watchAgents() {
          throw new ConnectError('the cursor is older than the change log', Code.OutOfRange);
        },
      },
    });
    expect(await watch.ended).toBe(1);
    expect(watch.stderr).toContain('OUT_OF_RANGE');
  });

  it('gives programs one response a line', async () => {
    const first = create(WatchAgentsResponseSchema, {
      changes: [upsert(sampleAgent('a'))],
      cursor: '1',
      synced: true,
    });
    const watch = await start('agents watch -o json', {
      agent: {
        async *watchAgents(_request, { signal }) {
          yield first;
          yield { cursor: '2', synced: true };
          await untilAborted(signal);
        },
      },
    });
    await watch.shows('"cursor":"2"');
    const lines = watch.stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(2);
    expect(fromJson(WatchAgentsResponseSchema, JSON.parse(lines[0] ?? ''))).toEqual(first);
  });

  it('shows samples when asked, and a stale one as stale', async () => {
    const watch = await start('agents watch --samples 2s', {
      agent: {
        async *watchAgents({ sampleInterval }, { signal }) {
          expect(sampleInterval).toEqual(durationFromMs(2_000));
          const { observation } = sampleAgent('a');
          const { observation: old } = sampleAgent('a', {}, 90_000);
          yield { changes: [upsert(sampleAgent('a'))], cursor: '1', synced: true };
          yield { samples: [{ agentId: 'a', observation: observation as never }], cursor: '1' };
          yield { samples: [{ agentId: 'a', observation: old as never }], cursor: '1' };
          await untilAborted(signal);
        },
      },
    });
    await watch.shows('stale');
    expect(watch.stdout).toContain('· a  health 0.98  rtt 1.2ms/80ms  load 0.42  reading 1.2s\n');
    expect(watch.stdout).toContain(
      '· a  health (0.98)  rtt (1.2ms/80ms)  load (0.42)  reading 1m30s stale\n',
    );
  });

  it('fails at once if the service was never reached', async () => {
    service = await startFakeService();
    const { address } = service;
    await service.close();
    service = undefined;
    const { code, stderr } = await cli(['--server', address, 'agents', 'watch']);
    expect(code).toBe(1);
    expect(stderr).toContain(`error: cannot reach ${address}: connection refused`);
  });

  it('gives up on a service that accepts the watch and says nothing', async () => {
    const watch = await start('agents watch --timeout 200ms', {
      agent: {
        // biome-ignore lint/correctness/useYield: it says nothing
        async *watchAgents(_request, { signal }) {
          await untilAborted(signal);
        },
      },
    });
    expect(await watch.ended).toBe(1);
    expect(watch.stderr).toContain(`no answer from ${service?.address} in time`);
  });
});

function event(index: number, changes: Partial<Event> = {}): Event {
  const made = create(EventSchema, {
    id: `${index}-0`,
    time: timestampFromMs(sampleTimeMs + index * 1000),
    type: 'agent.lost',
    severity: Event_Severity.WARNING,
    agentId: `agent-${index}`,
    message: `event ${index}`,
  });
  return { ...made, ...changes };
}

describe('events', () => {
  it('lists newest first over all pages, up to the limit', async () => {
    const events = [5, 4, 3, 2, 1].map((index) => event(index));
    const list = await start('events --limit 3', { events });
    expect(await list.ended).toBe(0);
    expect([...list.stdout.matchAll(/event (\d)/g)].map(([, index]) => index)).toEqual(['5', '4', '3']);
    expect(list.stderr).toContain('raise --limit');
  });

  it('sends its filters', async () => {
    const seen: unknown[] = [];
    const list = await start(
      'events --agent a,b --type agent.* --severity warning --since 2026-08-03T12:00:00Z --until 2026-08-03T13:00:00Z',
      {
        monitoring: {
          listEvents: ({ filter }) => {
            seen.push(filter);
            return {};
          },
        },
      },
    );
    expect(await list.ended).toBe(0);
    expect(seen[0]).toMatchObject({
      agentIds: ['a', 'b'],
      types: ['agent.*'],
      minSeverity: Event_Severity.WARNING,
      startTime: timestampFromMs(Date.UTC(2026, 7, 3, 12)),
      endTime: timestampFromMs(Date.UTC(2026, 7, 3, 13)),
    });
  });

  it('follows without a gap or a repeat between the latest events and the live ones', async () => {
    const watch = await start('events --follow', {
      events: [event(2), event(1)],
      monitoring: {
        async *watchEvents(_request, { signal }) {
          yield { cursor: '1', synced: true };
          // Written after the watch began and before the latest were listed: it is in both.
          yield { events: [event(2)], cursor: '2', synced: true };
          yield { events: [event(3)], cursor: '3', synced: true };
          await untilAborted(signal);
        },
      },
    });
    await watch.shows('event 3');
    expect([...watch.stdout.matchAll(/event (\d)/g)].map(([, index]) => index)).toEqual(['1', '2', '3']);
    watch.interrupt();
    expect(await watch.ended).toBe(130);
  });

  it('says loudly that events were missed when the log does not reach back to its cursor', async () => {
    const requests: WatchEventsRequest[] = [];
    const watch = await start('events --follow --limit 0', {
      monitoring: {
        async *watchEvents(request, { signal }) {
          requests.push(request);
          if (request.cursor !== '') throw new ConnectError('too old', Code.OutOfRange);
          yield { events: [event(requests.length)], cursor: 'c', synced: true };
          if (requests.length > 1) await untilAborted(signal);
        },
      },
    });
    await watch.shows('event 3');
    expect(watch.stderr).toContain('events were missed');
  });
});

describe('status', () => {
  const status = create(SystemStatusSchema, {
    time: timestampFromMs(sampleTimeMs),
    state: SystemStatus_State.DEGRADED,
    reasons: ['2 of 23 agents are lost'],
    orchestratorId: 'o1',
    orchestratorName: 'Orchestrator',
    version: '0.1.0',
    fleet: {
      agents: 23,
      byLiveness: [
        { liveness: Agent_Liveness.CONNECTED, count: 21 },
        { liveness: Agent_Liveness.LOST, count: 2 },
      ],
      health: 0.91,
      oldestReading: durationFromMs(4_100),
    },
    store: {
      kind: 'lmdb',
      available: true,
      durability: 'disk',
      epoch: 7n,
      since: timestampFromMs(sampleTimeMs - 3_600_000),
    },
    replica: {
      id: 'r1',
      startTime: timestampFromMs(sampleTimeMs - 3_600_000),
      sessions: 21,
      memoryBytes: 104857600n,
    },
  });

  it('shows state, reasons, fleet, store and replicas', async () => {
    const show = await start('status', { status });
    expect(await show.ended).toBe(0);
    expect(show.stdout).toMatch(/^DEGRADED {2}o1 Orchestrator 0\.1\.0 {2}as of/);
    expect(show.stdout).toContain('2 of 23 agents are lost');
    expect(show.stdout).toContain('23: 21 CONNECTED, 2 LOST');
    expect(show.stdout).toContain('health 0.91, oldest reading 4.1s');
    expect(show.stdout).toContain('lmdb available for 1h00m, durability disk, epoch 7');
    expect(show.stdout).toMatch(/r1 \* +1h00m ago +21 .*100 MiB/);
  });

  it('ends with code 1 under --check unless all is well', async () => {
    expect(await (await start('status --check', { status })).ended).toBe(1);
  });

  it('redraws in place on a terminal, and once the service is gone the picture says that it is stale', async () => {
    const watch = await start(
      'status --watch',
      {
        monitoring: {
          async *watchSystemStatus(_request, { signal }) {
            yield { status };
            await untilAborted(signal);
          },
        },
      },
      { columns: 100, rows: 24 },
    );
    await watch.shows('received');
    await service?.close();
    await watch.shows('STALE: no news for');
    const picture = watch.stdout.slice(watch.stdout.lastIndexOf('\u001b[J'));
    expect(picture).toContain('23: 21 CONNECTED');
    expect(picture).not.toContain('\u001b[32m');
    watch.interrupt();
    expect(await watch.ended).toBe(130);
    expect(watch.stdout.endsWith('\u001b[?25h')).toBe(true);
    service = undefined;
  });

  it('gives programs one response a line', async () => {
    const watch = await start('status --watch -o json', {
      monitoring: {
        async *watchSystemStatus(_request, { signal }) {
          yield { status };
          yield { status };
          await untilAborted(signal);
        },
      },
    });
    await watch.shows('}\n{');
    expect(
      watch.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).status.state),
    ).toEqual(['STATE_DEGRADED', 'STATE_DEGRADED']);
  });
});
