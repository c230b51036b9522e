import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AgentSpecSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { type AgentHandle, type ConnectAgentOptions, connectAgent } from '../../src/client/index.ts';

export type Spec = MessageInitShape<typeof AgentSpecSchema>;

/** What the simulations run in. */
export interface World {
  /** "host:port" of the gRPC listener. */
  server: string;
  /** Base URL of the HTTP listener. */
  http: string;
  namespace: string;
  /** Fires when the demo ends: leave cleanly. */
  stop: AbortSignal;
  /** What the simulation is doing, for the table. */
  say(doing: string): void;
}

/** One simulated agent. */
export interface Simulation {
  id: string;
  /** What it is there to show. */
  shows: string;
  /** Runs until `world.stop`. */
  run(world: World): Promise<void>;
}

/** Waits, or less long when the demo ends. */
export function pause(seconds: number, world: World): Promise<void> {
  return new Promise((resolve) => {
    if (world.stop.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      world.stop.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, seconds * 1_000);
    world.stop.addEventListener('abort', done);
  });
}

/** Waits until the demo ends. */
export function untilStop(world: World): Promise<void> {
  return pause(24 * 3_600, world);
}

/** Attaches an agent. Takes over what an earlier demo left. */
export function attach(
  world: World,
  id: string,
  options: Omit<ConnectAgentOptions, 'server' | 'id'> & { server?: string },
): Promise<AgentHandle> {
  const { server, namespace, stop: signal } = world;
  return connectAgent({ server, namespace, id, takeover: true, signal, timeoutMs: 5_000, ...options });
}

/** Attaches an agent, lets it live until the demo ends, and sees to its goodbye. */
export async function live(
  world: World,
  id: string,
  options: Parameters<typeof attach>[2],
  body: (agent: AgentHandle) => Promise<void>,
): Promise<void> {
  const agent = await attach(world, id, options);
  try {
    await body(agent);
  } finally {
    await agent.leave('the demo ended');
  }
}

const zones = ['zone-a', 'zone-b', 'zone-c'];
let made = 0;

/** Labels as a fleet has them; zones take turns. */
export function labels(more: Record<string, string> = {}): Record<string, string> {
  const zone = zones[made++ % zones.length] ?? 'zone-a';
  return { 'topology.kubernetes.io/zone': zone, env: 'demo', ...more };
}
