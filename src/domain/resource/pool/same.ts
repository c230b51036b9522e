import type { Hold, PoolAgent } from './types.ts';

export function sameAgent(a: PoolAgent, b: PoolAgent): boolean {
  return (
    a.uid === b.uid &&
    a.zone === b.zone &&
    a.available === b.available &&
    a.unavailableWhy === b.unavailableWhy &&
    sameRecord(a.capacity, b.capacity) &&
    sameFilter(a, b)
  );
}

/** Whether the constraints that concern the agent alone take both for the same. */
export function sameFilter(a: PoolAgent, b: PoolAgent): boolean {
  const alike =
    a.capabilities === b.capabilities ||
    (a.capabilities.length === b.capabilities.length &&
      a.capabilities.every(({ name, version }, at) => {
        const other = b.capabilities[at];
        return other?.name === name && other.version === version;
      }));
  return alike && sameRecord(a.labels, b.labels);
}

export function sameHold(a: Hold, b: Hold): boolean {
  return (
    a.agentId === b.agentId &&
    a.group === b.group &&
    a.kind === b.kind &&
    sameRecord(a.resources, b.resources)
  );
}

function sameRecord<T>(a: Readonly<Record<string, T>>, b: Readonly<Record<string, T>>): boolean {
  if (a === b) return true;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && Object.is(a[name], b[name]))
  );
}
