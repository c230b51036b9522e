import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  SystemStatusSchema,
  WatchLiveRequest_Part,
  type WatchLiveResponse,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { LivePart } from '../../../../src/domain/monitoring/live/live-part.ts';
import { watchLive } from '../../../../src/domain/monitoring/live/watch-live.ts';
import { systemClock } from '../../../../src/lib/clock.ts';
import { DomainError } from '../../../../src/lib/errors.ts';
import { silentLogger } from '../../../../src/lib/logger.ts';

const { STATUS, USAGE, TASKS } = WatchLiveRequest_Part;

/** A part that tells its name so often; then it does what `then` does. */
function part(name: string, times: number, then: () => undefined = () => undefined) {
  let left = times;
  const made = {
    part: STATUS as WatchLiveRequest_Part,
    closed: false,
    take: () => {
      if (left === 0) return then();
      left -= 1;
      return { case: 'status' as const, value: create(SystemStatusSchema, { version: name }) };
    },
    dueMs: () => (left > 0 ? 0 : Number.POSITIVE_INFINITY),
    close: () => {
      made.closed = true;
    },
  };
  return made satisfies LivePart;
}

function stream(parts: LivePart[], signal = new AbortController().signal, errors: string[] = []) {
  return watchLive(
    {
      clock: systemClock,
      replicaId: 'r1',
      log: { ...silentLogger, error: (_, message) => errors.push(message) },
      json: true,
      open: () => [...parts],
    },
    signal,
  );
}

const nameOf = ({ part: told }: WatchLiveResponse): string =>
  told.case === 'status' ? told.value.version : `${told.case}`;

async function names(told: AsyncIterator<WatchLiveResponse>, count: number): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) {
    const { value, done } = await told.next();
    if (done === true) break;
    found.push(nameOf(value));
  }
  return found;
}

it('parts have their turns one after the other, however much one of them has to tell', async () => {
  const told = stream([part('much', 100), part('few', 2), part('more', 50)]);
  expect(await names(told, 8)).toEqual(['much', 'few', 'more', 'much', 'few', 'more', 'much', 'more']);
});

it('a part that fails is told of, and the others go on', async () => {
  const gone = part('gone', 1, () => {
    throw new DomainError({ reason: ErrorReason.LIMIT_REACHED, message: 'too much' });
  });
  gone.part = USAGE;
  const broken = part('broken', 0, () => {
    throw new TypeError('secret detail');
  });
  broken.part = TASKS;
  const errors: string[] = [];
  const told = stream([gone, broken, part('good', 3)], undefined, errors);
  const all: WatchLiveResponse[] = [];
  for (let index = 0; index < 6; index += 1) {
    const { value } = await told.next();
    if (value) all.push(value);
  }
  expect(all.map(nameOf).filter((name) => name === 'good').length).toBe(3);
  const faults = all.flatMap(({ part: { case: name, value } }) => (name === 'fault' ? [value] : []));
  expect(faults).toMatchObject([
    { part: TASKS, reason: 'INTERNAL', message: expect.not.stringContaining('secret') },
    { part: USAGE, reason: 'LIMIT_REACHED', message: 'too much' },
  ]);
  expect([gone.closed, broken.closed]).toEqual([true, true]);
  expect(errors).toEqual(['a part of a live stream failed']);
});

it('a reader that is too slow for one part is cut off as a whole', async () => {
  const slow = part('slow', 0, () => {
    throw new DomainError({ reason: ErrorReason.SLOW_CONSUMER, message: 'behind' });
  });
  const good = part('good', 1);
  const told = stream([good, slow]);
  await told.next();
  await expect(told.next()).rejects.toMatchObject({ reason: ErrorReason.SLOW_CONSUMER });
  expect([slow.closed, good.closed]).toEqual([true, true]);
});

it('all parts are closed when the reader leaves, also while nothing happens', async () => {
  const end = new AbortController();
  const quiet = part('quiet', 1);
  const told = stream([quiet], end.signal);
  await told.next();
  const next = told.next();
  end.abort();
  expect(await next).toMatchObject({ done: true });
  expect(quiet.closed).toBe(true);
});

it('others have their turn of the event loop while a stream has much to tell', async () => {
  const told = stream([part('much', 100_000)]);
  const startMs = performance.now();
  let longestMs = 0;
  let lastMs = startMs;
  const beat = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - lastMs);
    lastMs = performance.now();
  }, 1);
  for (;;) {
    await told.next();
    if (performance.now() - startMs > 150) break;
  }
  clearInterval(beat);
  expect(lastMs).toBeGreaterThan(startMs);
  expect(longestMs).toBeLessThan(100);
});
