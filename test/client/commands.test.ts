import type { JsonObject } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { DeliveryUpdate_State as State } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { AgentCommand, CommandHandlers, DeliveryControls } from '../../src/client/index.ts';
import { useAgent } from './agent-fixture.ts';

const it = useAgent();

let made = 0;
function order(type: string, given: JsonObject = {}): string {
  const deliveryId = `order-${++made}`;
  const fields = Object.fromEntries(
    Object.entries(given).map(([key, value]) => [key, { kind: { case: 'stringValue', value: `${value}` } }]),
  );
  it.network.stream.down({
    case: 'delivery',
    value: {
      work: { deliveryId, attempt: 1n },
      timeLeft: { seconds: 60n },
      item: {
        case: 'command',
        value: {
          type,
          arguments: {
            data: {
              case: 'json',
              value: { kind: { case: 'structValue', value: { fields: fields as never } } },
            },
          },
        },
      },
    },
  });
  return deliveryId;
}
function task(deliveryId: string): void {
  it.network.stream.down({
    case: 'delivery',
    value: {
      work: { deliveryId, attempt: 1n },
      item: { case: 'task', value: { id: deliveryId, capability: 'dig' } },
    },
  });
}
/** States and what still ran, of one delivery's updates; each of them is answered as stored. */
function told(deliveryId: string): [State, string[]][] {
  return it.network.stream
    .frames('deliveryUpdate')
    .filter(({ work }) => work?.deliveryId === deliveryId)
    .map(({ state, running }) => [state, running]);
}
/** Answers all that came up, until nothing more does. */
async function settle(): Promise<void> {
  const answered = new Set<string>();
  for (let turn = 0; turn < 20; turn++) {
    for (const { frameId } of it.network.stream.up) {
      if (frameId === '' || answered.has(frameId)) continue;
      answered.add(frameId);
      it.network.stream.down({ case: 'result', value: { frameId } });
    }
    await it.pass(0);
  }
}
async function connected(onCommand?: CommandHandlers): Promise<DeliveryControls[]> {
  const tasks: DeliveryControls[] = [];
  await it.connected({
    maxInFlight: 8,
    onDelivery: async (_, controls) => {
      tasks.push(controls);
      await controls.accept();
    },
    ...(onCommand === undefined ? {} : { onCommand }),
  });
  return tasks;
}

test('an agent that says nothing of commands drains what it holds, telling how it shrinks', async () => {
  const tasks = await connected();
  task('t-1');
  task('t-2');
  const drain = order('drain');
  await settle();
  expect(told(drain)).toEqual([[State.ACCEPTED, ['task dig t-1', 'task dig t-2']]]);
  void tasks[0]?.succeed();
  await settle();
  await it.pass(1_000);
  await settle();
  expect(told(drain).at(-1)).toEqual([State.ACCEPTED, ['task dig t-2']]);
  void tasks[1]?.succeed();
  await settle();
  await it.pass(1_000);
  await settle();
  expect(told(drain).at(-1)?.[0]).toBe(State.SUCCEEDED);
  expect(it.agent.state).toBe('connected');
});

test.each([
  ['resume', State.SUCCEEDED],
  ['quarantine', State.SUCCEEDED],
  ['dependency_lost', State.SUCCEEDED],
  ['drain', State.SUCCEEDED],
  ['restart', State.DECLINED],
  ['polish', State.DECLINED],
  ['constructor', State.DECLINED],
])('without a handler %s is answered %s', async (type, state) => {
  await connected();
  const delivery = order(type);
  await settle();
  expect(told(delivery)).toEqual([[state, []]]);
});

test('a stop finishes what is held, succeeds, says goodbye and closes without an error', async () => {
  const tasks = await connected();
  task('t-1');
  const stop = order('stop', { reason: 'maintenance' });
  await settle();
  expect(it.network.stream.frames('leave')).toEqual([]);
  void tasks[0]?.succeed();
  await settle();
  await it.pass(1_000);
  await settle();
  expect(told(stop).map(([state]) => state)).toContain(State.SUCCEEDED);
  expect(it.network.stream.frames('leave')).toMatchObject([{ reason: 'told to stop: maintenance' }]);
  expect(await it.agent.closed).toBeUndefined();
});

test('being sent away after a stop has succeeded is no error', async () => {
  await connected();
  order('stop');
  await it.pass(0);
  it.network.stream.down({ case: 'goAway', value: { reason: 4, detail: 'stopped' } });
  expect(await it.agent.closed).toBeUndefined();
});

test('own handlers get the command as it is, and to return is to succeed', async () => {
  const seen: AgentCommand[] = [];
  await connected({
    resume: (command) => void seen.push(command),
    polish: async (_, controls) => {
      await controls.succeed({ data: { case: 'text', value: 'shiny' } });
    },
  });
  const resume = order('resume', { reason: 'all well' });
  const polish = order('polish');
  await settle();
  expect(seen).toMatchObject([
    { type: 'resume', reason: 'all well', arguments: { reason: 'all well' }, timeLeftMs: 60_000 },
  ]);
  expect(told(resume)).toEqual([[State.SUCCEEDED, []]]);
  expect(told(polish)).toEqual([[State.SUCCEEDED, []]]);
});

test('a handler that throws declines; a declined stop leaves the agent where it is', async () => {
  await connected({
    drain: () => {
      throw new Error('not now');
    },
    stop: (_, controls) => controls.decline('in the middle of something'),
  });
  const drain = order('drain');
  const stop = order('stop');
  await settle();
  expect(told(drain)).toEqual([[State.DECLINED, []]]);
  expect(told(stop)).toEqual([[State.DECLINED, []]]);
  expect(it.network.stream.frames('leave')).toEqual([]);
  expect(it.agent.state).toBe('connected');
});

test('a drain can wait for work of its own kind', async () => {
  const own = ['page 7'];
  await connected({ drain: (_, controls) => controls.drained(() => own) });
  const drain = order('drain');
  await settle();
  expect(told(drain)).toEqual([[State.ACCEPTED, ['page 7']]]);
  own.pop();
  await it.pass(1_000);
  await settle();
  expect(told(drain).map(([state]) => state)).toEqual([State.ACCEPTED, State.ACCEPTED, State.SUCCEEDED]);
});

test('a drain that is taken back ends its waiting, and no outcome is told', async () => {
  await connected();
  task('t-1');
  const drain = order('drain');
  await settle();
  it.network.stream.down({
    case: 'revoke',
    value: { work: { deliveryId: drain, attempt: 1n }, reason: 'resumed' },
  });
  await settle();
  await it.pass(3_000);
  expect(told(drain).map(([state]) => state)).toEqual([State.ACCEPTED]);
});
