import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { WatchAlertsResponseSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { WatchLiveRequest_Part } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { GetUsageResponseSchema } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { MAX_FAILED } from '../../../../src/domain/monitoring/live/failures.ts';
import { PulledPart } from '../../../../src/domain/monitoring/live/pulled-part.ts';
import { WholePart } from '../../../../src/domain/monitoring/live/whole-part.ts';
import { DomainError } from '../../../../src/lib/errors.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const broken = () => new TypeError('broken');
const refused = () => new DomainError({ reason: ErrorReason.INVALID_FIELDS, message: 'no such agent' });

/** A part of which readings fail so often, and how it is told of after each. */
async function wholes(error: () => Error, failures: number, readings: number): Promise<string[]> {
  const clock = new FakeClock();
  let read = 0;
  const part = new WholePart({
    ...{ namespace: 'default', json: true, intervalMs: 1000, wake: () => {}, clock, everyMs: 2000 },
    ...{ part: WatchLiveRequest_Part.USAGE, case: 'usage' },
    read: async () => {
      read += 1;
      if (read <= failures) throw error();
      return { value: create(GetUsageResponseSchema), bytes: new Uint8Array(), print: `${read}` };
    },
  });
  const told: string[] = [];
  for (let index = 0; index < readings; index += 1) {
    try {
      part.take();
      await new Promise((resolve) => setImmediate(resolve));
      told.push(part.take()?.case ?? 'nothing');
    } catch {
      told.push('fault');
    }
    clock.advance(2000);
  }
  part.close();
  return told;
}

it('a part that fails for a while is asked for again, and goes on', async () => {
  expect(await wholes(broken, 2, 4)).toEqual(['nothing', 'nothing', 'usage', 'usage']);
});

it('a part is over that fails again and again, or is refused', async () => {
  const told = await wholes(broken, 100, MAX_FAILED);
  expect(told).toEqual([...Array.from({ length: MAX_FAILED - 1 }, () => 'nothing'), 'fault']);
  expect(await wholes(refused, 1, 1)).toEqual(['fault']);
});

it('a watch that breaks off is opened anew', async () => {
  let opened = 0;
  let woken: () => void = () => {};
  const news = new Promise<void>((resolve) => {
    woken = resolve;
  });
  const part = new PulledPart({
    ...{ namespace: 'default', json: true, intervalMs: 1000, wake: () => woken() },
    ...{ part: WatchLiveRequest_Part.ALERTS, case: 'alerts' },
    open: async function* () {
      opened += 1;
      if (opened === 1) throw broken();
      yield create(WatchAlertsResponseSchema);
    },
  });
  await news;
  expect(part.take()?.case).toBe('alerts');
  part.close();
});
