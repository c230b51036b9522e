import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  WatchLiveRequest_Part as Part,
  type WatchLiveRequest,
  type WatchLiveResponse,
  WatchLiveResponseSchema,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { LiveStream } from '../../web/src/live/live-stream.ts';
import type { FromWorker, WatchSpec } from '../../web/src/live/protocol.ts';

/** One opening of the stream, which the test feeds. */
class Opening implements AsyncIterable<WatchLiveResponse> {
  readonly request: WatchLiveRequest;
  readonly #news: WatchLiveResponse[] = [];
  #wake = () => {};
  #failure: Error | undefined;

  constructor(request: WatchLiveRequest, signal: AbortSignal) {
    this.request = request;
    signal.addEventListener('abort', () => this.fail('aborted'));
  }

  say(part: MessageInitShape<typeof WatchLiveResponseSchema>['part']): void {
    this.#news.push(
      create(WatchLiveResponseSchema, { replicaId: 'r-1', ...(part === undefined ? {} : { part }) }),
    );
    this.#wake();
  }

  fail(message: string): void {
    this.#failure = new Error(message);
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      const next = this.#news.shift();
      if (next !== undefined) yield next;
      else if (this.#failure !== undefined) throw this.#failure;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

const spec: WatchSpec = {
  namespace: 'default',
  parts: [Part.AGENTS],
  agentIds: [],
  recentEvents: 0,
  minIntervalMs: 1_000,
};

let openings: Opening[];
let posted: FromWorker[];
let stream: LiveStream;

beforeEach(() => {
  vi.useFakeTimers();
  openings = [];
  posted = [];
  stream = new LiveStream({
    open: (request, signal) => {
      const opening = new Opening(request, signal);
      openings.push(opening);
      return opening;
    },
    post: (message) => posted.push(message),
  });
});

afterEach(() => {
  vi.useRealTimers();
});

const links = () => posted.flatMap((message) => (message.kind === 'link' ? [message.link.state] : []));
const batches = () => posted.flatMap((message) => (message.kind === 'agents' ? [message] : []));
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const agents = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ type: 1 as const, agent: { id: `a-${index}` } }));

test('a broken stream is opened anew after pauses that grow to ten seconds, and shrink once something came', async () => {
  stream.watch(1, spec);
  openings[0]?.say({ case: 'status', value: {} });
  await pass(0);
  expect(links()).toEqual(['connecting', 'live']);
  const pauses: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    openings.at(-1)?.fail('gone');
    await pass(0);
    const before = openings.length;
    let waited = 0;
    while (openings.length === before) {
      await pass(50);
      waited += 50;
    }
    pauses.push(waited);
  }
  expect(links().at(-2)).toBe('lost');
  expect(pauses[0]).toBeLessThanOrEqual(700);
  expect(pauses[3]).toBeGreaterThan(pauses[0] ?? 0);
  expect(Math.max(...pauses)).toBeLessThanOrEqual(12_550);
  openings.at(-1)?.say({ case: 'status', value: {} });
  openings.at(-1)?.fail('gone');
  await pass(0);
  const count = openings.length;
  await pass(700);
  expect(openings.length).toBe(count + 1);
});

test('a stream that says nothing for fifteen seconds is given up', async () => {
  stream.watch(1, spec);
  openings[0]?.say({ case: 'status', value: {} });
  await pass(14_000);
  expect(links()).not.toContain('lost');
  openings[0]?.say({ case: 'status', value: {} });
  await pass(14_000);
  expect(links()).not.toContain('lost');
  await pass(1_500);
  expect(links()).toContain('lost');
});

test('ten thousand agents reach the page in batches, and are synced with the last of them', async () => {
  stream.watch(1, spec);
  for (let at = 0; at < 10_000; at += 250)
    openings[0]?.say({
      case: 'agents',
      value: { changes: agents(10_000).slice(at, at + 250), synced: at === 9_750 },
    });
  await pass(5_000);
  const sizes = batches().map(({ upserts }) => upserts.length);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(10_000);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(400);
  expect(batches().filter(({ synced }) => synced)).toHaveLength(1);
  expect(batches().findLastIndex(({ upserts }) => upserts.length > 0)).toBe(
    batches().findIndex(({ synced }) => synced),
  );
});

test('of an agent that is told of twice before the page is, only the latest goes on, and none that went', async () => {
  stream.watch(1, spec);
  openings[0]?.say({
    case: 'agents',
    value: { changes: [{ type: 1, agent: { id: 'a', spec: { kind: 'old' } } }] },
  });
  openings[0]?.say({
    case: 'agents',
    value: { changes: [{ type: 1, agent: { id: 'a', spec: { kind: 'new' } } }] },
  });
  openings[0]?.say({ case: 'agents', value: { changes: [{ type: 1, agent: { id: 'b' } }] } });
  openings[0]?.say({ case: 'agents', value: { changes: [{ type: 2, agent: { id: 'b' } }] } });
  await pass(300);
  expect(batches()).toHaveLength(1);
  expect(batches()[0]?.upserts.map(({ id, kind }) => [id, kind])).toEqual([['a', 'new']]);
  expect(batches()[0]?.removed).toEqual(['b']);
});

test('nothing of an older watch comes once another one was asked for', async () => {
  stream.watch(1, spec);
  openings[0]?.say({ case: 'agents', value: { changes: agents(3) } });
  await pass(0);
  stream.watch(2, { ...spec, namespace: 'other' });
  openings[0]?.say({ case: 'agents', value: { changes: agents(3) } });
  openings[1]?.say({ case: 'agents', value: { changes: agents(1), synced: true } });
  await pass(500);
  expect(openings[1]?.request.namespace).toBe('other');
  expect(batches().map(({ watch, upserts }) => [watch, upserts.length])).toEqual([[2, 1]]);
});

test('labels of alerts that are shown otherwise come as they are beside', async () => {
  stream.watch(1, spec);
  const hostile = { id: 'x', labels: { agent_id: 'a\u202e' } };
  openings[0]?.say({ case: 'alerts', value: { alerts: [hostile, { id: 'y', labels: { zone: 'z' } }] } });
  await pass(0);
  const [news] = posted.flatMap((message) =>
    message.kind === 'part' && message.part === 'alerts' ? [message] : [],
  );
  expect(news?.value.alerts[0]?.labels).toEqual({ agent_id: 'a\\u202e' });
  expect(news?.rawLabels).toEqual(new Map([['x', { agent_id: 'a\u202e' }]]));
});
