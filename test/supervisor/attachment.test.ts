import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { GoAway_Reason } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentError, Code } from '../../src/client/index.ts';
import { Attachment, type AttachmentOptions } from '../../src/supervisor/attachment.ts';
import type { Identity } from '../../src/supervisor/token-file.ts';
import { FakeNetwork } from '../client/fake-transport.ts';

let network: FakeNetwork;
let attachment: Attachment;
let notes: string[];
let attached: Identity[];
let stopped: number;

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
function start(more: Partial<AttachmentOptions> = {}): void {
  attachment = new Attachment({
    createTransport: network.createTransport,
    identity: { namespace: 'default', id: 'a-1', token: undefined },
    takeover: false,
    spec: { kind: 'test' },
    instanceId: 'i-1',
    client: 'test/1',
    report: () => ({ activity: 'running' }),
    onCommand: {},
    random: () => 0.5,
    onAttached: (identity) => attached.push(identity),
    onStopped: () => stopped++,
    note: (text) => notes.push(text),
    ...more,
  });
}
async function welcomed(epoch: bigint): Promise<void> {
  await pass(0);
  network.stream.welcome(epoch);
  await pass(0);
}
beforeEach(() => {
  vi.useFakeTimers();
  network = new FakeNetwork();
  [notes, attached, stopped] = [[], [], 0];
});
afterEach(async () => {
  await attachment.close();
  expect(vi.getTimerCount(), 'timers left behind').toBe(0);
  expect(network.openTransports, 'connections left open').toBe(0);
  vi.useRealTimers();
});

test('tells who it is, once attached, so that it can be kept', async () => {
  start({ identity: { namespace: 'default', id: '', token: undefined } });
  await welcomed(1n);
  expect(attached).toEqual([{ namespace: 'default', id: 'made-1', token: 'token-1' }]);
  expect(attachment.id).toBe('made-1');
});

test.each([
  ['another process has the id', Code.ALREADY_EXISTS, 'AGENT_LIVE'],
  ['the service takes no such agent', Code.FAILED_PRECONDITION, 'NOT_RESPONSIBLE'],
  ['the spec is refused', Code.INVALID_ARGUMENT, 'INVALID_FIELDS'],
])('goes on where a worker would give up: %s', async (message, code, reason) => {
  let refusals = 0;
  network.onRegister = () => {
    if (refusals++ < 6) throw new AgentError({ code, reason, message });
    return 'token-1';
  };
  start();
  for (let second = 0; second < 600 && network.streams.length === 0; second++) await pass(1_000);
  expect(refusals).toBe(7);
  await welcomed(1n);
  expect(attached).toHaveLength(1);
  expect(
    notes.filter((note) => note.includes(message)),
    'it is said once',
  ).toHaveLength(1);
});

test('waits longer each time, up to a minute', async () => {
  const at: number[] = [];
  network.onRegister = () => {
    at.push(Math.round(performance.now()));
    throw new AgentError({ code: Code.ALREADY_EXISTS, reason: 'AGENT_LIVE', message: 'live' });
  };
  start();
  await pass(5 * 60_000);
  const waits = at.slice(1).map((time, index) => time - (at[index] ?? 0));
  expect(waits.slice(0, 6)).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
});

test('superseded, it leaves the other alone for a minute, and comes back without its token and without takeover', async () => {
  start({ takeover: true });
  await welcomed(1n);
  expect(network.registrations[0]?.request.takeover).toBe(true);
  network.stream.down({ case: 'goAway', value: { reason: GoAway_Reason.SUPERSEDED } });
  await pass(59_000);
  expect(network.registrations).toHaveLength(1);
  await pass(2_000);
  expect(network.registrations[1]).toMatchObject({ token: undefined, request: { takeover: false } });
});

test('deregistered, it registers anew', async () => {
  start();
  await welcomed(1n);
  network.stream.down({ case: 'goAway', value: { reason: GoAway_Reason.REVOKED } });
  await pass(6_000);
  await welcomed(2n);
  expect(network.registrations).toHaveLength(2);
  expect(attached).toHaveLength(2);
});

test('an agent that was stopped while nobody could tell it says so, and tries no more', async () => {
  start();
  await pass(0);
  network.stream.ended(
    new AgentError({ code: Code.FAILED_PRECONDITION, reason: 'AGENT_STOPPED', message: 'stopped' }),
  );
  await attachment.over;
  expect(stopped).toBe(1);
});

test('leaving ends it also while it waits', async () => {
  network.onRegister = () => {
    throw new AgentError({ code: Code.ALREADY_EXISTS, message: 'live' });
  };
  start();
  await pass(100);
  await attachment.leave('over');
});
