import { afterEach, beforeEach, expect, vi } from 'vitest';
import { Agent } from '../../src/client/agent.ts';
import { AgentError, Code } from '../../src/client/errors.ts';
import type { ConnectAgentOptions, StateChange } from '../../src/client/options.ts';
import { FakeNetwork } from './fake-transport.ts';

/** An agent on a fake network under fake timers, made anew for each test; afterwards nothing of it may be left. */
export interface AgentFixture {
  network: FakeNetwork;
  agent: Agent;
  changes: StateChange[];
  /** Makes the agent and lets it run. */
  start(options?: Partial<ConnectAgentOptions>, random?: () => number): Agent;
  /** The same, up to its first welcome. */
  connected(options?: Partial<ConnectAgentOptions>): Promise<Agent>;
  /** Lets time go by. */
  pass(ms: number): Promise<unknown>;
  /** Breaks the connection. */
  lost(): void;
}

export function useAgent(): AgentFixture {
  const fixture = {
    pass: (ms: number) => vi.advanceTimersByTimeAsync(ms),
    lost: () =>
      fixture.network.stream.ended(new AgentError({ code: Code.UNAVAILABLE, message: 'connection reset' })),
    start(options: Partial<ConnectAgentOptions> = {}, random = () => 0): Agent {
      const onState = (change: StateChange) => fixture.changes.push(change);
      fixture.agent = new Agent(
        { server: 'unused', id: 'a-1', spec: { kind: 'test' }, onState, ...options },
        { createTransport: fixture.network.createTransport, random },
      );
      return fixture.agent;
    },
    async connected(options: Partial<ConnectAgentOptions> = {}): Promise<Agent> {
      fixture.start(options);
      await vi.advanceTimersByTimeAsync(0);
      fixture.network.stream.welcome(1n);
      await fixture.agent.attached;
      return fixture.agent;
    },
  } as AgentFixture;
  beforeEach(() => {
    vi.useFakeTimers();
    fixture.network = new FakeNetwork();
    fixture.changes = [];
  });
  afterEach(async () => {
    await fixture.agent.close();
    await vi.advanceTimersByTimeAsync(0); // what was under way has heard of it
    expect(vi.getTimerCount(), 'timers left behind').toBe(0);
    expect(fixture.network.openTransports, 'connections left open').toBe(0);
    vi.useRealTimers();
  });
  return fixture;
}
