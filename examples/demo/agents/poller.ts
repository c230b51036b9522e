import { randomUUID } from 'node:crypto';
import { labels, pause, type Simulation, type World } from '../simulation.ts';

interface Frame {
  ping?: { echo: string };
  goAway?: { detail?: string };
}
interface Poll {
  epoch: string;
  frames?: Frame[];
}

/** An agent without a stream: plain HTTP and JSON, as curl or a serverless function would do it. */
export const poller: Simulation = {
  id: 'poller-1',
  shows: 'no stream at all: JSON over HTTP, by long poll',
  run: async (world) => {
    const spec = { kind: 'function', labels: labels(), capabilities: [{ name: 'hook' }] };
    const namespace = world.namespace;
    const body = { namespace, agentId: 'poller-1', spec, takeover: true };
    const { agentToken } = await call<{ agentToken: string }>(world, 'AgentService/RegisterAgent', body);
    const poll = (request: object) => call<Poll>(world, 'SessionService/PollSession', request, agentToken);
    const hello = { instanceId: randomUUID(), client: 'demo-poller', report: { activity: 'polling' } };
    let answer = await poll({ frames: [{ hello }], wait: '0s' });
    const { epoch } = answer;
    for (let polls = 1; !world.stop.aborted; polls++) {
      const frames = (answer.frames ?? []).flatMap(({ ping }) =>
        ping === undefined ? [] : [{ heartbeat: { echo: ping.echo } }],
      );
      world.say(`epoch ${epoch}, ${polls} polls`);
      answer = await poll({ epoch, frames, wait: '2s' });
      if (answer.frames?.some(({ goAway }) => goAway !== undefined)) return world.say('sent away');
      await pause(0, world);
    }
    await poll({ epoch, frames: [{ leave: { reason: 'the demo ended' } }], wait: '0s' });
  },
};

async function call<T>(world: World, method: string, body: object, token?: string): Promise<T> {
  const response = await fetch(`${world.http}/mycosoft.orchestrator.agent.v1.${method}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method}: ${response.status} ${text.slice(0, 200)}`);
  return JSON.parse(text) as T;
}
