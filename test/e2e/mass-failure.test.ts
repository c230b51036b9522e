import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Alert_State } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { SystemStatus_State } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { grpcChannel, SimAgent } from '../support/sim-agent.ts';
import { Stack, storeKinds } from '../support/stack.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { pause, until } from '../support/until.ts';

const AGENTS = 500;
const CUT = 300;
const RATE = 40;
const PER_CHANNEL = 50;
/** Hundreds of events are read at each look. */
const LOOK_MS = 200;

/** Agents that share connections to `address`, attached. */
async function join(address: string, from: number, to: number): Promise<SimAgent[]> {
  const agents: SimAgent[] = [];
  for (let first = from; first < to; first += PER_CHANNEL) {
    const channel = grpcChannel(address);
    const some = Array.from(
      { length: Math.min(PER_CHANNEL, to - first) },
      (_, index) => new SimAgent({ via: channel, id: `m${first + index}` }),
    );
    await Promise.all(some.map((agent) => agent.join()));
    agents.push(...some);
  }
  return agents;
}

describe.each(storeKinds)('60 %% of 500 agents cut off at once, on %s', (kind) => {
  let stack: Stack;
  let proxy: TcpProxy;
  let beyond: SimAgent[] = [];
  let here: SimAgent[] = [];

  beforeAll(async () => {
    stack = await Stack.start(kind, { env: { ORCHESTRATOR_BRAKE_RATE_PER_SECOND: `${RATE}` } });
    proxy = await TcpProxy.start({ target: stack.service.grpc });
    here = await join(stack.service.grpc, CUT, AGENTS);
    beyond = await join(proxy.address, 0, CUT);
  }, 60_000);
  afterAll(async () => {
    for (const agent of [...here, ...beyond]) agent.session?.break();
    for (const client of new Set([...here, ...beyond].map((agent) => agent.client))) client.close();
    await proxy?.close();
    await stack?.dispose();
  });

  const status = async () => {
    const { status: now } = await stack.clients.monitoring.getSystemStatus({});
    if (now === undefined) throw new Error('no status');
    return now;
  };
  const events = async (type: string): Promise<string[]> => {
    const ids: string[] = [];
    for (let pageToken = ''; ; ) {
      const page = await stack.clients.monitoring.listEvents({
        filter: { types: [type] },
        pageSize: 1000,
        pageToken,
      });
      ids.push(...page.events.map(({ agentId }) => agentId));
      pageToken = page.nextPageToken;
      if (pageToken === '') return ids;
    }
  };
  const lostCount = async () =>
    (await status()).fleet?.byLiveness.find(({ liveness }) => liveness === Agent_Liveness.LOST)?.count ?? 0;

  it('holds the brake, and nothing is taken from anybody; status and event say why', async () => {
    proxy.cut();
    await until(lostCount, (count) => count === CUT, {
      timeoutMs: 20_000,
      everyMs: LOOK_MS,
      what: 'all of them LOST',
    });
    await pause(2_000);
    expect(await events('agent.loss_handled')).toEqual([]);
    expect(await events('brake.set')).toHaveLength(1);
    // One alert stands for them all, and it alone is sent.
    const { alerts } = await stack.clients.alerts.listAlerts({
      states: [Alert_State.FIRING],
      withGrouped: true,
      pageSize: 1_000,
    });
    const sent = alerts.filter(({ deliveries }) => deliveries.length > 0);
    expect(sent.map(({ rule, groupedUnder }) => [rule, groupedUnder])).toEqual([['brake_engaged', '']]);
    expect(alerts.filter(({ groupedUnder }) => groupedUnder === sent[0]?.id).length).toBeGreaterThanOrEqual(
      CUT,
    );
    expect(sent[0]?.groupSize).toBeGreaterThanOrEqual(CUT);
    const now = await status();
    expect(now.state).toBe(SystemStatus_State.DEGRADED);
    expect(now.brakes).toMatchObject([
      { namespace: 'default', zone: '', failing: CUT, agents: AGENTS, held: CUT },
    ]);
    expect(now.reasons.join('\n')).toContain('mass failure');
    const explained = await stack.clients.agents.explainAgent({ agentId: 'm0' });
    expect(explained.actions.join('\n')).toContain('held back, too many agents');
    expect(explained.verdicts[0]?.observer).toMatchObject({ agents: AGENTS });
    expect(here.every((agent) => agent.session?.goAway === undefined)).toBe(true);
  }, 60_000);

  it('goes on at the set rate once the loss is confirmed, and spares those who return', async () => {
    const startMs = performance.now();
    const { confirmed } = await stack.clients.agents.confirmLoss({ reason: 'the site is gone' });
    expect(confirmed).toBe(CUT);
    await until(
      () => events('agent.loss_handled'),
      (ids) => ids.length >= 30,
      { timeoutMs: 20_000, everyMs: LOOK_MS },
    );
    const back = beyond.slice(0, 60);
    await Promise.all(back.map((agent) => agent.attach().welcome));
    const handled = new Set(await events('agent.loss_handled'));
    const seconds = (performance.now() - startMs) / 1000;
    expect(handled.size).toBeLessThanOrEqual(RATE * (seconds + 2));
    const spared = back.filter(({ id }) => !handled.has(id));
    expect(spared.length).toBeGreaterThan(20);
    const left = CUT - back.length + back.filter(({ id }) => handled.has(id)).length;
    const all = await until(
      () => events('agent.loss_handled'),
      (ids) => ids.length >= left,
      {
        ...{ timeoutMs: 40_000, everyMs: LOOK_MS },
        what: `the loss of ${left} agents to be dealt with`,
      },
    );
    expect(new Set(all).size).toBe(all.length);
    for (const { id } of spared) expect(all).not.toContain(id);
    await until(
      () => events('brake.lifted'),
      (lifted) => lifted.length === 1,
      { what: 'the brake to be lifted' },
    );
    expect((await status()).brakes).toEqual([]);
  }, 90_000);
});
