import type { Duration } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Stack } from '../support/stack.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const ms = (duration: Duration | undefined) =>
  duration === undefined ? Number.NaN : Number(duration.seconds) * 1000 + duration.nanos / 1e6;

const hour = 3_600_000;
const year = 365.25 * 24 * hour;
const samplesWanted = 40;

const manners: { clock: string; id: string; clockOffsetMs: number | undefined; answerDelayMs: number }[] = [
  { clock: 'right', id: 'right', clockOffsetMs: 0, answerDelayMs: 0 },
  { clock: 'three hours fast', id: 'fast', clockOffsetMs: 3 * hour, answerDelayMs: 0 },
  { clock: 'five hours slow', id: 'slow', clockOffsetMs: -5 * hour, answerDelayMs: 0 },
  { clock: 'forty years slow', id: 'past', clockOffsetMs: -40 * year, answerDelayMs: 0 },
  { clock: 'seventy years fast', id: 'future', clockOffsetMs: 70 * year, answerDelayMs: 0 },
  { clock: 'not told', id: 'none', clockOffsetMs: undefined, answerDelayMs: 0 },
  { clock: 'a second fast, and answers 60 ms late', id: 'late', clockOffsetMs: 1000, answerDelayMs: 60 },
];

describe('round trips through a link that takes 40 ms each way', () => {
  let stack: Stack;
  let proxy: TcpProxy;

  beforeAll(async () => {
    stack = await Stack.start('lmdb');
    proxy = await TcpProxy.start({ target: stack.service.grpc, delayMs: 40 });
    await Promise.all(
      manners.map(({ id, clockOffsetMs, answerDelayMs }) =>
        stack.agent({ via: proxy.address, id, manner: { clockOffsetMs, answerDelayMs } }).join(),
      ),
    );
  });
  afterAll(async () => {
    await stack?.dispose();
    await proxy?.close();
  });

  it.each(manners)(
    "are measured as 80 ms when the agent's clock is $clock",
    async ({ id, clockOffsetMs }) => {
      const observation = await until(
        async () => (await stack.clients.agents.getAgent({ agentId: id })).agent?.observation,
        (value) => (value?.roundTrip?.samples ?? 0) >= samplesWanted,
        { timeoutMs: 30_000, what: `${samplesWanted} round trips of ${id}`, everyMs: 100 },
      );
      expect(Math.abs(ms(observation?.roundTrip?.p50) - 80)).toBeLessThan(5);
      expect(Math.abs(ms(observation?.roundTrip?.smoothed) - 80)).toBeLessThan(5);
      if (clockOffsetMs === undefined) expect(observation?.clockOffset).toBeUndefined();
      else expect(Math.abs(ms(observation?.clockOffset) - clockOffsetMs)).toBeLessThan(5);
      expect(observation?.phi).toBeLessThan(1);
    },
  );
});
