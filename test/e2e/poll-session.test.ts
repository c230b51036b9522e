import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AgentWatch } from '../support/agent-watch.ts';
import { Stack } from '../support/stack.ts';

interface Poll {
  epoch?: string;
  sequence?: string;
  pollWithin?: string;
  frames?: {
    welcome?: { epoch: string; lease: string };
    ping?: { echo: string };
    result?: { frameId: string; code?: number };
    goAway?: { reason: string };
  }[];
}

/** A client as curl would be: JSON over HTTP/1.1, nothing generated. */
class JsonClient {
  readonly #base: string;
  token = '';
  constructor(base: string) {
    this.#base = base;
  }

  async call(method: string, body: object): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(`http://${this.#base}/mycosoft.orchestrator.agent.v1.${method}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(this.token === '' ? {} : { authorization: `Bearer ${this.token}` }),
      },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  async poll(body: object): Promise<Poll> {
    const { status, body: answer } = await this.call('SessionService/PollSession', body);
    if (status !== 200) throw new Error(`${status} ${JSON.stringify(answer)}`);
    return answer as Poll;
  }

  async register(agentId: string): Promise<void> {
    const { body } = await this.call('AgentService/RegisterAgent', { agentId });
    this.token = String(body.agentToken);
  }
}

const answersTo = (poll: Poll) =>
  (poll.frames ?? []).flatMap(({ ping }) => (ping === undefined ? [] : [{ heartbeat: { echo: ping.echo } }]));

describe('an agent that only knows HTTP/1.1 and JSON', () => {
  let stack: Stack;
  let watch: AgentWatch;
  beforeAll(async () => {
    stack = await Stack.start('lmdb');
    watch = await AgentWatch.open(stack.clients);
  });
  afterAll(async () => {
    await watch?.close();
    await stack?.dispose();
  });

  const attached = async (id: string) => {
    const client = new JsonClient(stack.service.http);
    await client.register(id);
    const first = await client.poll({ frames: [{ hello: { client: 'curl' } }], wait: '0s' });
    const welcome = first.frames?.[0]?.welcome;
    expect(welcome?.epoch).toBe(first.epoch);
    return { client, epoch: first.epoch ?? '', first };
  };

  it('lives like any other: it is CONNECTED, measured, and LEFT after its goodbye', async () => {
    const { client, epoch, first } = await attached('curl-1');
    await watch.untilLiveness('curl-1', Agent_Liveness.CONNECTED);
    let poll = first;
    for (let round = 0; round < 8; round++) {
      poll = await client.poll({ epoch, frames: answersTo(poll), wait: '1s' });
      expect(poll.epoch).toBe(epoch);
    }
    const { agent } = await stack.clients.agents.getAgent({ agentId: 'curl-1' });
    expect(agent?.observation?.roundTrip?.samples).toBeGreaterThanOrEqual(3);
    expect(agent?.observation?.client).toBe('curl');
    expect(agent?.liveness).toBe(Agent_Liveness.CONNECTED);
    await client.poll({ epoch, frames: [{ leave: { reason: 'done' } }], wait: '0s' });
    await watch.untilLiveness('curl-1', Agent_Liveness.LEFT);
  });

  it('gets the last response again when it repeats a sequence', async () => {
    const { client, epoch } = await attached('curl-2');
    const body = { epoch, sequence: '1', frames: [{ frameId: 'a', heartbeat: {} }], wait: '0s' };
    const once = await client.poll(body);
    const twice = await client.poll(body);
    expect(twice).toEqual(once);
    const { agent } = await stack.clients.agents.getAgent({ agentId: 'curl-2' });
    expect(agent?.observation?.heartbeats).toBe(1n);
    const results = [once, await client.poll({ epoch, sequence: '2', wait: '0s' })].flatMap((poll) =>
      (poll.frames ?? []).flatMap(({ result }) => (result === undefined ? [] : [result.frameId])),
    );
    expect(results).toEqual(['a']);
  });

  it('counts as DISCONNECTED when it stops polling, and is superseded by a stream', async () => {
    const { client, epoch, first } = await attached('curl-3');
    expect(first.pollWithin).toMatch(/^\d+(\.\d+)?s$/);
    const agent = stack.agent({ id: 'curl-3' });
    agent.token = client.token;
    await agent.attach().welcome;
    const told = await client.poll({ epoch, wait: '5s' });
    expect(told.frames?.at(-1)?.goAway?.reason).toBe('REASON_SUPERSEDED');
    const stale = await client.call('SessionService/PollSession', { epoch, wait: '0s' });
    expect(stale.status).toBe(409);
    expect(stale.body.code).toBe('aborted');

    await attached('curl-4');
    await watch.untilLiveness('curl-4', Agent_Liveness.CONNECTED);
    await watch.until(
      () => watch.livenessOf('curl-4').includes('DISCONNECTED'),
      'curl-4 to be missed',
      30_000,
    );
  });

  it.each([
    ['no token', '', { frames: [{ hello: {} }] }, 401],
    ['a foreign token', 'x.y.z', { frames: [{ hello: {} }] }, 401],
    ['an unknown epoch', undefined, { epoch: '42' }, 409],
    ['a first frame that is not hello', undefined, { frames: [{ heartbeat: {} }] }, 400],
    ['a wait beyond the limit', undefined, { frames: [{ hello: {} }], wait: '61s' }, 400],
    [
      'too many frames',
      undefined,
      { epoch: '1', frames: Array.from({ length: 257 }, () => ({ heartbeat: {} })) },
      400,
    ],
    ['an unknown field', undefined, { nonsense: 1 }, 400],
  ])('is refused with %s', async (_, token, body, expected) => {
    const client = new JsonClient(stack.service.http);
    await client.register(`refused-${Math.random().toString(36).slice(2)}`);
    if (token !== undefined) client.token = token;
    const answer = await client.call('SessionService/PollSession', body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(expected);
  });
});
