import { describe, expect, it } from 'vitest';
import { StoreTime } from '../../src/state/store-time.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryStore } from '../support/memory-store.ts';

describe('the time of the store', () => {
  it('is that of the store once it was asked, whatever our own clock says and is set to', async () => {
    const clock = new FakeClock();
    const storeMs = clock.wallMs() - 3_600_000;
    const time = new StoreTime({ store: new MemoryStore({ wallMs: () => storeMs }), clock });
    expect(time.ms()).toBe(clock.wallMs());
    expect(await time.exact()).toBe(storeMs);
    clock.advance(1000);
    expect(time.ms()).toBe(storeMs + 1000);
    clock.setWall(clock.wallMs() + 86_400_000);
    expect(time.ms()).toBe(storeMs + 1000);
  });
});
