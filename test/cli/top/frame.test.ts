import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  AgentChange_Type,
  WatchAgentsResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type WatchLiveResponse,
  WatchLiveResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { displayWidth } from '../../../src/cli/output/text.ts';
import { drawFrame } from '../../../src/cli/top/frame.ts';
import { FIRST_LOOK, keysOf, type Look, press } from '../../../src/cli/top/keys.ts';
import { TopModel } from '../../../src/cli/top/model.ts';
import { sampleAgent } from '../../support/sample-agents.ts';

function agents(ids: readonly string[], synced = true): WatchLiveResponse {
  const changes = ids.map((id) => ({ type: AgentChange_Type.UPSERTED, agent: sampleAgent(id) }));
  const value = create(WatchAgentsResponseSchema, { changes, synced });
  return create(WatchLiveResponseSchema, { part: { case: 'agents', value }, replicaId: 'one' });
}

const many = (count: number) =>
  Array.from({ length: count }, (_, at) => `agent-${String(at).padStart(4, '0')}`);

function frame(model: TopModel, look: Partial<Look> = {}, columns = 100, rows = 20, trouble?: string) {
  const style = { colour: false, columns };
  return drawFrame(model, { ...FIRST_LOOK, ...look }, { style, rows, nowMs: 1000, trouble });
}

function modelWith(ids: readonly string[]): TopModel {
  const model = new TopModel();
  model.apply(agents(ids), 1000);
  return model;
}

describe('a frame of top', () => {
  it.each([
    [100, 20],
    [40, 8],
    [200, 60],
    [20, 3],
  ])('fits a terminal of %i columns and %i rows', (columns, rows) => {
    const { lines } = frame(modelWith(many(500)), {}, columns, rows);
    expect(lines).toHaveLength(rows);
    // A narrow terminal loses columns of the table; the head is cut.
    if (columns >= 40) for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(columns);
  });

  it('scrolls to the last row and not beyond', () => {
    const { lines, offset, page } = frame(modelWith(many(50)), {
      sort: 'name',
      offset: Number.MAX_SAFE_INTEGER,
    });
    expect(offset).toBe(50 - page);
    expect(lines.join('\n')).toContain('agent-0049');
    expect(lines.at(-1)).toContain('of 50');
  });

  it('says that the connection is lost, and of when the picture is', () => {
    const { lines } = frame(modelWith(['a']), {}, 100, 20, 'refused');
    expect(lines[0]).toContain('CONNECTION LOST');
    expect(lines[0]).toContain('refused');
  });

  it('makes harmless what agents say of themselves', () => {
    const model = modelWith(['a']);
    const known = model.agents.get('a');
    if (known?.agent.spec !== undefined) known.agent.spec.kind = 'x\u001b[2Jy';
    expect(frame(model).lines.join('')).not.toContain('\u001b');
  });
});

describe('the model of top', () => {
  it('keeps agents of a lost stream until all are told anew, and then only those', () => {
    const model = modelWith(['a', 'b']);
    model.anew();
    model.apply(agents(['b'], false), 2000);
    expect([...model.agents.keys()]).toEqual(['a', 'b']);
    model.apply(agents(['c']), 2000);
    expect([...model.agents.keys()]).toEqual(['b', 'c']);
  });

  it('keeps the last 500 events, each once', () => {
    const model = new TopModel();
    const events = (from: number) =>
      create(WatchLiveResponseSchema, {
        part: {
          case: 'events',
          value: { events: Array.from({ length: 400 }, (_, at) => ({ id: `${from + at}-0` })) },
        },
      });
    for (const from of [0, 200, 400]) model.apply(events(from), 0);
    expect(model.events).toHaveLength(500);
    expect(new Set(model.events.map(({ id }) => id)).size).toBe(500);
  });
});

describe('keys of top', () => {
  it('come apart as a terminal sends them: several at once, sequences as one', () => {
    expect(keysOf('a\u001b[B\u001b[6~é\u001b')).toEqual(['a', '\u001b[B', '\u001b[6~', 'é', '\u001b']);
  });

  it.each<[string, Partial<Look>, Partial<Look>]>([
    ['\t', {}, { view: 'alerts' }],
    ['\u001b[Z', {}, { view: 'service' }],
    ['s', {}, { sort: 'load' }],
    ['S', {}, { sort: 'name' }],
    ['r', {}, { reversed: true }],
    ['j', { offset: 3 }, { offset: 4 }],
    ['k', { offset: 0 }, { offset: 0 }],
    ['\u001b[6~', { offset: 3 }, { offset: 13 }],
    ['p', {}, { paused: true }],
    ['/', { view: 'service' }, { typing: true, view: 'agents' }],
    ['q', { typing: true, filter: 'a' }, { typing: true, filter: 'aq' }],
    ['\u007f', { typing: true, filter: 'ab' }, { filter: 'a' }],
    ['\r', { typing: true, filter: 'ab' }, { typing: false, filter: 'ab' }],
    ['\u001b', { typing: true, filter: 'ab' }, { typing: false, filter: '' }],
    ['\u0001', { typing: true, filter: 'ab' }, { filter: 'ab' }],
  ])('%j in %j gives %j', (key, before, after) => {
    const look = { ...FIRST_LOOK, ...before };
    const deed = press(key, look, 10);
    expect(deed.kind === 'look' ? deed.look : look).toMatchObject(after);
  });

  it.each([
    ['q', {}, 'quit'],
    ['\u0003', { typing: true }, 'quit'],
    ['\u001a', {}, 'suspend'],
    ['x', {}, 'none'],
  ] as const)('%j in %j is to %s', (key, before, kind) => {
    expect(press(key, { ...FIRST_LOOK, ...before }, 10).kind).toBe(kind);
  });
});

it('of thousands of agents renders only those that are seen', () => {
  const model = modelWith(many(3000));
  const { lines, offset } = frame(model, { sort: 'name', offset: 1500 });
  expect(offset).toBe(1500);
  expect(lines.join('\n')).toContain('agent-1500');
  expect(frame(model, { sort: 'name', offset: Number.MAX_SAFE_INTEGER }).lines.join('\n')).toContain(
    'agent-2999',
  );
  const startMs = performance.now();
  for (let round = 0; round < 5; round += 1) frame(model);
  // A frame of all of them takes five times as long.
  expect((performance.now() - startMs) / 5).toBeLessThan(150);
});
