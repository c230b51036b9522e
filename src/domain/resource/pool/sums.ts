import type { Fleet } from './fleet.ts';

/** What agents that may be given work have of a resource, and what of it is reserved. */
export interface CapacitySums {
  capacity: number;
  reserved: number;
}

export interface PoolSums {
  /** By resource, in their order. */
  total: Map<string, CapacitySums>;
  /** By zone, then by resource. */
  zones: Map<string, Map<string, CapacitySums>>;
}

const nothing = (): CapacitySums => ({ capacity: 0, reserved: 0 });

/** Walks rows of numbers only: it is asked for every second, of large fleets too. */
export function sumsOf(fleet: Fleet): PoolSums {
  const sums: PoolSums = { total: new Map(), zones: new Map() };
  const tables = [...fleet.tables()].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const table of tables) {
    const byZone: CapacitySums[] = [];
    const total = nothing();
    for (let row = 0; row < table.size; row += 1) {
      const slot = table.slotAt(row);
      if (fleet.available[slot] !== 1) continue;
      const capacity = table.capacity[row] ?? 0;
      const reserved = table.reserved[row] ?? 0;
      total.capacity += capacity;
      total.reserved += reserved;
      const index = fleet.zone[slot] ?? 0;
      const zone = byZone[index] ?? nothing();
      byZone[index] = zone;
      zone.capacity += capacity;
      zone.reserved += reserved;
    }
    sums.total.set(table.name, total);
    for (const [zone, index] of fleet.zones.entries()) {
      const one = byZone[index];
      if (one === undefined) continue;
      const known = sums.zones.get(zone) ?? new Map<string, CapacitySums>();
      sums.zones.set(zone, known.set(table.name, one));
    }
  }
  return sums;
}
