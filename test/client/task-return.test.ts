import { describe, expect, it } from 'vitest';
import { DeliveryUpdate_State as State } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { useAgent } from './agent-fixture.ts';
import { heldTasks, taskService } from './task-fixture.ts';

const fixture = useAgent();
const { deliver, updates, states, answer } = taskService(fixture);
const held = () => heldTasks((ms) => fixture.pass(ms));

describe('a task over a reconnect', () => {
  it('goes on, is named in hello, and its result is told when the session is back', async () => {
    const { handler, task, done } = held();
    await fixture.connected({ onTask: handler });
    deliver('t');
    answer();
    const { signal } = task('t');
    fixture.lost();
    await fixture.pass(1_500);
    expect(fixture.network.stream.frames('hello')[0]?.held).toMatchObject([
      { deliveryId: 'task-t-1', attempt: 1n },
    ]);
    await done('t', 'ready'); // not welcome yet
    expect(states()).toEqual([]);
    fixture.network.stream.welcome(2n);
    await fixture.pass(0);
    expect(signal.aborted).toBe(false);
    expect(updates()).toMatchObject([{ state: State.SUCCEEDED, output: { data: { value: 'ready' } } }]);
    deliver('t');
    await fixture.pass(0);
    expect(states(), 'not done twice').toEqual(['t SUCCEEDED', 't SUCCEEDED']);
  });

  it('is in hello while its result is not acknowledged', async () => {
    await fixture.connected({ onTask: () => {} });
    deliver('t');
    await fixture.pass(0);
    fixture.lost();
    await fixture.pass(1_500);
    expect(fixture.network.stream.frames('hello')[0]?.held).toMatchObject([{ deliveryId: 'task-t-1' }]);
  });

  it('is stopped when it was given to another meanwhile', async () => {
    const { handler, task, done } = held();
    await fixture.connected({ onTask: handler });
    deliver('t');
    const { signal } = task('t');
    fixture.lost();
    await fixture.pass(1_500);
    const revoked = [{ deliveryId: 'task-t-1', attempt: 1n }];
    fixture.network.stream.down({
      case: 'welcome',
      value: { epoch: 2n, lease: { seconds: 30n }, revoked },
    });
    expect(signal.reason).toMatchObject({ reason: 'work_revoked' });
    await done('t');
    expect(states().filter((state) => state.includes('SUCCEEDED'))).toEqual([]);
  });

  it('whose result is refused as stale is dropped, and the log says so', async () => {
    const logged: string[] = [];
    const note = (_: object, message: string) => void logged.push(message);
    const { handler, done } = held();
    await fixture.connected({ onTask: handler, log: { debug: note, info: note, warn: note } });
    deliver('t');
    answer();
    await done('t', 'late');
    answer({ code: 10, reason: 'ATTEMPT_STALE', detail: 'task t is at attempt 2' });
    await fixture.pass(0);
    expect(logged).toContain('what came of a task was not taken, and is dropped');
    expect(states()).toEqual(['t ACCEPTED', 't SUCCEEDED']);
    fixture.lost();
    await fixture.pass(1_500);
    expect(fixture.network.stream.frames('hello')[0]?.held).toEqual([]);
  });
});
