import type { Duration } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Observation } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { strain } from '../support/faults/strain.ts';
import { Stack } from '../support/stack.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const ms = (duration: Duration | undefined) =>
  duration === undefined ? Number.NaN : Number(duration.seconds) * 1000 + duration.nanos / 1e6;

const hour = 3_600_000;
const year = 365.25 * 24 * hour;
const samplesWanted = 40;
/** What the measuring itself may add, on a machine that has the CPU for it. */
const TOLERANCE_MS = 5;

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

  /** The last round trip of every fresh reading of an agent, sorted, and the last reading. */
  async function readings(id: string): Promise<{ sorted: number[]; last: Observation | undefined }> {
    const sampleInterval = { seconds: 0n, nanos: 100_000_000 };
    const all: number[] = [];
    let last: Observation | undefined;
    for await (const { samples } of stack.clients.agents.watchAgents({ sampleInterval })) {
      for (const { agentId, observation } of samples) {
        if (agentId !== id || observation?.roundTrip === undefined) continue;
        last = observation;
        all.push(ms(observation.roundTrip.last));
      }
      if (all.length >= samplesWanted) break;
    }
    return { sorted: all.toSorted((a, b) => a - b), last };
  }

  it.concurrent.each(manners)(
    "are measured as 80 ms when the agent's clock is $clock",
    async ({ id, clockOffsetMs }) => {
      const { sorted, last } = await readings(id);
      const quantile = (q: number) => sorted[Math.floor(q * sorted.length)] ?? Number.NaN;
      const toleranceMs = TOLERANCE_MS * strain();
      // A busy machine wakes the proxy and the agent late, which only ever adds: so the fast ones must be right,
      expect(sorted[0]).toBeGreaterThan(80 - 0.5);
      expect(quantile(0.1)).toBeLessThan(80 + toleranceMs);
      // and the summary must agree with them.
      expect(Math.abs(ms(last?.roundTrip?.p50) - quantile(0.5))).toBeLessThan(toleranceMs);
      expect(ms(last?.roundTrip?.smoothed)).toBeGreaterThan(80 - 0.5);
      expect(ms(last?.roundTrip?.smoothed)).toBeLessThan((sorted.at(-1) ?? 0) + toleranceMs);
      if (clockOffsetMs === undefined) expect(last?.clockOffset).toBeUndefined();
      else expect(Math.abs(ms(last?.clockOffset) - clockOffsetMs)).toBeLessThan(toleranceMs);
    },
  );
});
