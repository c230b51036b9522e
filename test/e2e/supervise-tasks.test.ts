import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  type DeliveryUpdate,
  DeliveryUpdate_State as State,
  type TaskSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { CliProcess } from '../support/cli-process.ts';
import { Watchpost, Workshop } from '../support/supervised.ts';
import { until } from '../support/until.ts';

/** Does as its input says. */
const worker = `
import json, os, sys
print("pid", os.getpid())
for line in sys.stdin:
    task = json.loads(line)
    if "cancel" in task:
        print("cancelled", task["id"], task["reason"])
        print(json.dumps({"id": task["id"], "error": "stopped"}))
        continue
    if "left" in task:
        print(json.dumps({"id": task["id"], "output": task["left"]}))
        continue
    what = task["input"]
    if what == "die": sys.exit(7)
    if what == "hold": print(json.dumps({"id": task["id"], "progress": {"done": 1, "total": 2}}))
    elif what == "spend": print(json.dumps({"id": task["id"], "spent": {"tokens": 5}}))
    elif what == "nonsense": print('{"id":')
    else: print(json.dumps({"id": task["id"], "output": {"echo": what, "attempt": task["attempt"]}}))
`;

let workshop: Workshop;
let post: Watchpost;
let supervisor: CliProcess;
beforeEach(async () => {
  workshop = new Workshop();
  const program = workshop.program('worker.py', worker);
  const options = ['--tasks', 'stdin', '--capability', 'echo@1.2', '--slots', '2', '--backoff-min', '100ms'];
  post = await Watchpost.start((address) => {
    supervisor = workshop.supervise(address, options, program);
  });
  await post.running();
});
afterEach(async () => {
  post.stop();
  await workshop.close();
});

type Fields = Exclude<MessageInitShape<typeof TaskSchema>, { $typeName: string }>;

function hand(id: string, input: string, more: Fields = {}): void {
  const value = {
    id,
    capability: 'echo',
    attempt: 1,
    input: { data: { case: 'text' as const, value: input } },
  };
  post.session.send({
    case: 'delivery',
    value: {
      work: { deliveryId: `task-${id}`, attempt: 1n },
      item: { case: 'task', value: { ...value, ...more } },
    },
  });
}
/** The next update about a task, which is acknowledged. */
async function update(): Promise<DeliveryUpdate> {
  const frame = await post.session.nextFrame('deliveryUpdate');
  if (frame.frame.case !== 'deliveryUpdate') throw new Error('no update');
  post.session.stored(frame.frameId);
  return frame.frame.value;
}
async function outcome(): Promise<DeliveryUpdate> {
  for (;;) {
    const next = await update();
    if (next.state !== State.ACCEPTED) return next;
  }
}

test('a script takes tasks, spends of their budgets, and survives its own nonsense', async () => {
  const spec = post.server.registrations[0]?.request.spec;
  expect(spec?.capabilities).toMatchObject([{ name: 'echo', version: '1.2' }]);
  expect(spec?.capacity).toEqual({ slots: 2n });
  hand('a', 'hello', { attempt: 3 });
  expect(await update()).toMatchObject({ work: { deliveryId: 'task-a' }, state: State.ACCEPTED });
  const done = await update();
  expect(done.state).toBe(State.SUCCEEDED);
  expect(JSON.stringify(done.output?.data)).toContain('"hello"');

  hand('b', 'spend', { budgets: { tokens: 8n } });
  expect(await update()).toMatchObject({ state: State.ACCEPTED, spent: {} });
  expect(await update()).toMatchObject({ state: State.ACCEPTED, spent: { tokens: 5n } });
  expect(await update()).toMatchObject({ state: State.SUCCEEDED, spent: { tokens: 5n } });

  hand('c', 'nonsense');
  await supervisor.shows('no answer to a task');
  hand('d', 'hello');
  expect(await outcome()).toMatchObject({ work: { deliveryId: 'task-d' }, state: State.SUCCEEDED });
  expect(supervisor.stdout, 'answers are not for people, and the rest is on stderr').toBe('');
  expect(supervisor.stderr).toContain('pid ');
});

test('progress is reported, a cancel reaches the script at once, and one that dies has failed for now', async () => {
  hand('a', 'hold');
  await until(
    () => post.report(),
    ({ progress }) => progress.some(({ work, done }) => work?.deliveryId === 'task-a' && done === 1n),
    { what: 'its progress' },
  );
  const work = { deliveryId: 'task-a', attempt: 1n };
  post.session.send({ case: 'revoke', value: { work, reason: 'not needed' } });
  await supervisor.shows('cancelled a not needed');

  hand('b', 'hold');
  hand('c', 'die');
  const failed = [await outcome(), await outcome()];
  for (const each of failed) {
    expect(each).toMatchObject({ state: State.FAILED, retryable: true });
    expect(each.error).toBe('the program ended (exit code 7) before it answered');
  }
  await post.running(2);
  hand('d', 'hello');
  expect(await outcome()).toMatchObject({ work: { deliveryId: 'task-d' }, state: State.SUCCEEDED });
});

test('a drain waits for the tasks that it has, and takes no more', async () => {
  hand('a', 'hold');
  await update();
  const drained = post.give('drain', { reason: 'maintenance' });
  const told = await update();
  expect(told).toMatchObject({ work: { deliveryId: drained }, running: ['task echo a'] });
  hand('b', 'hello');
  expect(await outcome()).toMatchObject({
    work: { deliveryId: 'task-b' },
    state: State.DECLINED,
    retryable: true,
  });
  const work = { deliveryId: 'task-a', attempt: 1n };
  post.session.send({ case: 'revoke', value: { work, reason: 'over' } });
  expect(await outcome()).toMatchObject({ work: { deliveryId: drained }, state: State.SUCCEEDED });
  await supervisor.shows('stays down (drain)');
});
