import { create } from '@bufbuild/protobuf';
import {
  type FiguresRecord_ZoneFigures,
  FiguresRecord_ZoneFiguresSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { type Amounts, bigintsOf } from '../../resource/amounts.ts';
import { Sketch } from '../history/sketch.ts';
import { decodeSketch, encodeSketch } from '../history/sketch-codec.ts';

/** What one agent adds to its zone. */
export interface Share {
  health: number;
  /** Undefined: it reports none. */
  load: number | undefined;
  weight: number;
  /** The bucket of its round trips' 95th percentile; undefined: there were none. */
  trips: number | undefined;
  /** The bucket of their median. */
  median: number | undefined;
  /** What it says that it uses; undefined: nothing that counts. */
  used: Amounts | undefined;
}

/** What the agents of a zone add up to. */
export class ZoneSums {
  agents = 0;
  health = 0;
  load = 0;
  weight = 0;
  loadAgents = 0;
  /** When the agent was heard that was not heard for longest, monotonic; Infinity: none is there. */
  oldestMs = Number.POSITIVE_INFINITY;
  readonly trips = new Sketch();
  readonly medians = new Sketch();
  readonly used = new Map<string, number>();

  add(share: Share): void {
    this.#count(share, 1);
  }

  remove(share: Share): void {
    this.#count(share, -1);
    if (this.agents > 0) return;
    // Sums of fractions do not come back to nothing by themselves.
    this.health = 0;
    this.load = 0;
    this.weight = 0;
    this.used.clear();
    this.trips.clear();
    this.medians.clear();
    this.oldestMs = Number.POSITIVE_INFINITY;
  }

  merge(other: ZoneSums): void {
    this.agents += other.agents;
    this.health += other.health;
    this.load += other.load;
    this.weight += other.weight;
    this.loadAgents += other.loadAgents;
    this.oldestMs = Math.min(this.oldestMs, other.oldestMs);
    this.trips.merge(other.trips);
    this.medians.merge(other.medians);
    for (const [name, amount] of other.used) this.used.set(name, (this.used.get(name) ?? 0) + amount);
  }

  /** Undefined: nobody reports its load. */
  meanLoad(): number | undefined {
    return this.weight > 0 ? Math.min(1, Math.max(0, this.load / this.weight)) : undefined;
  }

  #count({ health, load, weight, trips, median, used }: Share, by: 1 | -1): void {
    this.agents += by;
    this.health += by * health;
    if (load !== undefined) {
      this.load += by * load * weight;
      this.weight += by * weight;
      this.loadAgents += by;
    }
    if (trips !== undefined) this.trips.addTo(trips, by);
    if (median !== undefined) this.medians.addTo(median, by);
    for (const name in used) this.used.set(name, (this.used.get(name) ?? 0) + by * (used[name] ?? 0));
  }
}

/** For other replicas. @param nowMs monotonic */
export function encodeZone(zone: string, sums: ZoneSums, nowMs: number): FiguresRecord_ZoneFigures {
  return create(FiguresRecord_ZoneFiguresSchema, {
    zone,
    agents: sums.agents,
    healthSum: sums.health,
    loadWeight: sums.weight,
    loadSum: sums.load,
    loadAgents: sums.loadAgents,
    rttSketch: encodeSketch(sums.trips),
    rttP50Sketch: encodeSketch(sums.medians),
    oldestMs: Number.isFinite(sums.oldestMs) ? Math.max(0, Math.round(nowMs - sums.oldestMs)) : 0,
    used: bigintsOf(Object.fromEntries(sums.used)),
  });
}

/** @param heardMs when it came, by this replica's monotonic clock: clocks of replicas differ */
export function decodeZone(record: FiguresRecord_ZoneFigures, heardMs: number): ZoneSums {
  const sums = new ZoneSums();
  sums.agents = record.agents;
  sums.health = record.healthSum;
  sums.weight = record.loadWeight;
  sums.load = record.loadSum;
  sums.loadAgents = record.loadAgents;
  sums.oldestMs = record.agents > 0 ? heardMs - record.oldestMs : Number.POSITIVE_INFINITY;
  sums.trips.merge(decodeSketch(record.rttSketch));
  sums.medians.merge(decodeSketch(record.rttP50Sketch));
  for (const [name, amount] of Object.entries(record.used)) sums.used.set(name, Number(amount));
  return sums;
}
