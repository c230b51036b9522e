// How the connection is, and what time it is.
import { computed, signal } from '@preact/signals';
import { type LinkState, steadyNow } from '../live/protocol.ts';

export const link = signal<LinkState>({ state: 'connecting' });
/** When something came last, by `steadyNow`; undefined: never. */
export const heardAt = signal<number | undefined>(undefined);
/** The replica's clock minus ours. */
export const offsetMs = signal(0);
/** The steady clock, each second. */
export const now = signal(steadyNow());
/** The same by the replica's clock: what timestamps are compared with. */
export const replicaNow = computed(() => now.value + offsetMs.value);

/** What is shown may be out of date: there is no connection, or nothing comes over it. */
export const isStale = computed(() => {
  const heard = heardAt.value;
  if (link.value.state === 'lost') return true;
  return heard !== undefined && now.value - heard > STALE_MS;
});

const STALE_MS = 6_000;

setInterval(() => {
  now.value = steadyNow();
}, 1_000);
