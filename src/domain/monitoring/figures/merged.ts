import type { ZoneCounts } from './agent-counts.ts';
import { ZoneSums } from './zone-sums.ts';

/** The agents of a zone, or of all: what is measured of them, and how many there are. */
export class Merged {
  readonly sums = new ZoneSums();
  connected = 0;
  lost = 0;
  quarantined = 0;
  /** They should work and are not attached: health 0. */
  absent = 0;

  addCounts(counts: ZoneCounts): void {
    this.connected += counts.connected;
    this.lost += counts.lost;
    this.quarantined += counts.quarantined;
    this.absent += counts.absent;
  }

  merge(other: Merged): void {
    this.sums.merge(other.sums);
    this.connected += other.connected;
    this.lost += other.lost;
    this.quarantined += other.quarantined;
    this.absent += other.absent;
  }

  /** Undefined: there is no agent that should work, or nothing is known of any. */
  health(): number | undefined {
    const agents = this.sums.agents + this.absent;
    return agents > 0 ? Math.min(1, Math.max(0, this.sums.health / agents)) : undefined;
  }
}

export interface MergedNamespace {
  fleet: Merged;
  /** Without those that have no zone. */
  zones: Map<string, Merged>;
}

export interface Parts {
  /** By zone, of this and each other replica. */
  shards: Iterable<ReadonlyMap<string, ZoneSums>>;
  counts: ReadonlyMap<string, ZoneCounts>;
  /** What was judged and is not stored yet adds to or takes from these, by zone. */
  judged: ReadonlyMap<string, ZoneCounts>;
}

export function mergeNamespace({ shards, counts, judged }: Parts): MergedNamespace {
  const zones = new Map<string, Merged>();
  const of = (zone: string): Merged => {
    const found = zones.get(zone);
    if (found !== undefined) return found;
    const made = new Merged();
    zones.set(zone, made);
    return made;
  };
  for (const [zone, each] of counts) of(zone).addCounts(each);
  for (const [zone, each] of judged) of(zone).addCounts(each);
  for (const shard of shards) for (const [zone, sums] of shard) of(zone).sums.merge(sums);
  const fleet = new Merged();
  for (const each of zones.values()) fleet.merge(each);
  zones.delete('');
  return { fleet, zones };
}
