import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  AgentOutcome_State,
  Operation_State,
  WatchOperationRequestSchema,
  type WatchOperationResponse,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { watchOperation } from '../../../../src/domain/coordination/operations/operation-watch.ts';
import { fleet, useFleet } from '../../agent/conversation-fixture.ts';
import { turns } from '../../agent/fleet-fixture.ts';
import { Crew, declines, resume, standing, start, succeeds } from './operation-fixture.ts';

useFleet();

const count = (value: number) => ({ amount: { case: 'count' as const, value } });

/** Follows an operation; `ended` resolves when the stream is over. */
function follow(operationId: string, cursor = '') {
  const responses: WatchOperationResponse[] = [];
  const abort = new AbortController();
  const request = create(WatchOperationRequestSchema, { operationId, cursor });
  const options = { store: fleet.store, views: fleet.views, reader: fleet.coordination.operations.reader };
  const ended = (async () => {
    for await (const response of watchOperation(request, abort.signal, options)) responses.push(response);
  })();
  ended.catch(() => {});
  /** How each agent stands by what was told last. */
  const stands = () => {
    const latest = new Map(responses.flatMap(({ agents }) => agents.map((agent) => [agent.agentId, agent])));
    return standing([...latest.values()]);
  };
  return { responses, abort, ended, stands };
}

describe('WatchOperation', () => {
  it('tells of all agents first, in the order of their turns, then of what changes, and ends with the operation', async () => {
    const crew = await Crew.of(300);
    const { operation } = await start({ command: 'check', wave: count(299) });
    const watch = follow(operation.id);
    await turns(6);
    const whole = watch.responses.findIndex(({ synced }) => synced);
    const first = watch.responses.slice(0, whole);
    expect(first.map(({ agents }) => agents.length)).toEqual([256, 44]);
    expect(first.every(({ cursor }) => cursor === '')).toBe(true);
    expect(watch.responses[whole]?.cursor).not.toBe('');
    await crew.work();
    await watch.ended;
    expect(watch.stands().filter((line) => line.endsWith(' done'))).toHaveLength(300);
    const last = watch.responses.at(-1)?.operation;
    expect(last).toMatchObject({
      state: Operation_State.SUCCEEDED,
      counts: [{ state: AgentOutcome_State.DONE, count: 300 }],
    });
    // No agent goes back in time.
    const course = watch.responses.flatMap(({ agents }) => agents.filter(({ agentId }) => agentId === 'c00'));
    expect(course.map(({ state }) => state)).toEqual([...course.map(({ state }) => state)].sort());
  });

  it('resumes after a cursor with what changed since, also with those that are to be tried again', async () => {
    const crew = await Crew.of(3);
    crew.set(['c01'], declines);
    const { operation } = await start({ command: 'check', wave: count(2) });
    const before = follow(operation.id);
    await crew.work();
    expect(before.stands()).toEqual(['c00 done', 'c01 failed', 'c02 waiting']);
    const cursor = before.responses.at(-1)?.cursor ?? '';
    before.abort.abort();
    await before.ended;
    crew.set(['c01'], succeeds);
    const after = follow(operation.id, cursor);
    await turns(6);
    expect(after.stands()).toEqual([]);
    await resume(operation.id, { retryFailed: true });
    await turns(6);
    expect(after.stands().find((line) => line.startsWith('c01'))).not.toBe('c01 failed');
    await crew.work();
    await after.ended;
    expect(after.stands().sort()).toEqual(['c01 done', 'c02 done']);
  });

  it('tells of one that has ended, and ends', async () => {
    const crew = await Crew.of(2);
    const { operation } = await start({ command: 'check' });
    await crew.work();
    const watch = follow(operation.id);
    await watch.ended;
    expect(watch.stands()).toEqual(['c00 done', 'c01 done']);
    expect(watch.responses.at(-1)).toMatchObject({
      synced: true,
      operation: { state: Operation_State.SUCCEEDED },
    });
  });

  it.each([
    ['that is not there', 'op-none', '', 'there is no operation op-none'],
    ['with a cursor that is none', undefined, 'x', 'cursor'],
  ])('refuses one %s', async (_, id, cursor, words) => {
    await Crew.of(1);
    const { operation } = await start({ command: 'check' });
    await expect(follow(id ?? operation.id, cursor).ended).rejects.toThrow(words);
  });

  it('begins anew where the store was replaced', async () => {
    await Crew.of(1, () => undefined);
    const { operation } = await start({ command: 'check' });
    const watch = follow(operation.id);
    await turns(6);
    fleet.store.promote();
    await expect(watch.ended).rejects.toThrow('another store epoch');
  });
});
