import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { sessionHealth } from '../../agent/observation.ts';
import type { Session } from '../../agent/session.ts';
import type { SessionContext } from '../../agent/session-context.ts';
import { amountsOf } from '../../resource/amounts.ts';
import { bucketOf, bucketValue } from '../history/sketch.ts';
import type { Crossings } from './crossings.ts';
import { type Standing, standingOf } from './standing.ts';
import { type Share, ZoneSums } from './zone-sums.ts';

/** An agent that is attached here. */
export interface OwnAgent {
  readonly session: Session;
  /** What it adds to its zone now. */
  readonly share: Share;
  /** Undefined: the directory does not know it yet. */
  standing: Standing | undefined;
  /** The zone that it is counted in; undefined: in none. */
  zone: string | undefined;
  report: Session['report'];
}

export interface OwnNamespace {
  zones: Map<string, ZoneSums>;
  agents: Map<string, OwnAgent>;
}

export interface OwnAgentsOptions {
  context: SessionContext;
  directory: Pick<AgentDirectory, 'get'>;
  /** Is told of single agents while rules watch them. */
  crossings: Pick<Crossings, 'watchesAgents' | 'agentMoved'>;
  /** A figure of the namespace moved. */
  moved(namespace: string): void;
}

/** The median is worked out with every so manieth heartbeat only: it is for people to look at. */
const MEDIAN_EVERY = 32;

const UNKNOWN: Standing = {
  ...{ zone: '', weight: 1, works: true, attached: true, available: false },
  ...{ lost: false, quarantined: false },
};

/** What the agents that are attached to this replica add to the figures, kept up to date heartbeat by heartbeat. */
export class OwnAgents {
  readonly #options: OwnAgentsOptions;
  readonly #namespaces = new Map<string, OwnNamespace>();
  readonly #bySession = new Map<Session, OwnAgent>();
  /** Heartbeats heard. */
  heard = 0;

  constructor(options: OwnAgentsOptions) {
    this.#options = options;
  }

  of(namespace: string): OwnNamespace | undefined {
    return this.#namespaces.get(namespace);
  }

  namespaces(): IterableIterator<string> {
    return this.#namespaces.keys();
  }

  all(): IterableIterator<OwnAgent> {
    return this.#bySession.values();
  }

  /** The hot path: most heartbeats change nothing but the time. */
  heartbeat(session: Session, nowMs: number): void {
    this.heard += 1;
    const known = this.#bySession.get(session);
    if (known === undefined) {
      if (!session.ended) this.#enter(session, nowMs);
      return;
    }
    const { share } = known;
    const trips = session.roundTrips.count === 0 ? undefined : bucketOf(session.roundTrips.p95Ms());
    if (session.heartbeats % MEDIAN_EVERY === 0 || share.median === undefined) this.#updateMedian(known);
    // Just heard and nothing outstanding: only what it reports, and progress, can lower its health.
    const isWell = share.health === 1 && !session.stuck && session.probes.outstanding === 0;
    if (!isWell || known.report !== session.report) this.#update(known, trips, nowMs);
    else if (trips !== share.trips) this.#updateTrips(known, trips);
  }

  ended(session: Session): void {
    const known = this.#bySession.get(session);
    if (known === undefined) return;
    this.#bySession.delete(session);
    this.#takeOut(known);
    const { namespace, agentId } = session;
    const found = this.#namespaces.get(namespace);
    if (found?.agents.get(agentId) === known) found.agents.delete(agentId);
    if (found?.agents.size === 0) this.#namespaces.delete(namespace);
    this.#options.moved(namespace);
  }

  /** The record of an agent changed: its zone, weight or standing may have. */
  changed(namespace: string, agentId: string, after: KnownAgent | undefined): void {
    const known = this.#namespaces.get(namespace)?.agents.get(agentId);
    if (known === undefined) return;
    this.#takeOut(known);
    known.standing = after && standingOf(after.record);
    this.#read(known, known.share.trips, this.#options.context.clock.monoMs());
    this.#putIn(known);
    this.#options.moved(namespace);
  }

  /** Every second: who does not answer has told nothing. Also finds what was heard longest ago. */
  look(nowMs: number): void {
    for (const { zones } of this.#namespaces.values())
      for (const sums of zones.values()) sums.oldestMs = Number.POSITIVE_INFINITY;
    for (const known of this.#bySession.values()) {
      const { session, share } = known;
      if (session.probes.outstanding > 0 || session.stuck || share.health < 1) {
        this.#update(known, share.trips, nowMs);
      }
      if (known.zone === undefined) continue;
      const sums = this.#namespaces.get(session.namespace)?.zones.get(known.zone);
      if (sums !== undefined && session.lastHeardMs < sums.oldestMs) sums.oldestMs = session.lastHeardMs;
    }
  }

  /** Sessions that have said nothing yet and owe an answer count too. */
  admit(session: Session, nowMs: number): void {
    if (session.ended || session.probes.outstanding === 0 || this.#bySession.has(session)) return;
    this.#enter(session, nowMs);
  }

  /** Adds everything up anew; returns how far the sums had drifted (the largest share of a sum). */
  recount(nowMs: number): number {
    let drift = 0;
    for (const found of this.#namespaces.values()) {
      const before = found.zones;
      found.zones = new Map();
      for (const known of found.agents.values()) {
        known.zone = undefined;
        this.#putIn(known);
      }
      for (const [zone, sums] of found.zones) {
        const old = before.get(zone) ?? new ZoneSums();
        sums.oldestMs = old.oldestMs;
        drift = Math.max(drift, driftOf(old, sums));
      }
      for (const [zone, old] of before) if (!found.zones.has(zone) && old.agents > 0) drift = 1;
    }
    this.look(nowMs);
    return drift;
  }

  #enter(session: Session, nowMs: number): void {
    const { namespace, agentId } = session;
    let found = this.#namespaces.get(namespace);
    if (found === undefined) {
      found = { zones: new Map(), agents: new Map() };
      this.#namespaces.set(namespace, found);
    }
    const earlier = found.agents.get(agentId);
    if (earlier !== undefined) this.ended(earlier.session);
    const record = this.#options.directory.get(namespace, agentId);
    const known: OwnAgent = {
      session,
      share: {
        ...{ health: 1, load: undefined, weight: 1 },
        ...{ trips: undefined, median: undefined, used: undefined },
      },
      standing: record && standingOf(record.record),
      zone: undefined,
      report: undefined,
    };
    this.#namespaces.set(namespace, found);
    found.agents.set(agentId, known);
    this.#bySession.set(session, known);
    const { roundTrips } = session;
    this.#read(known, roundTrips.count === 0 ? undefined : bucketOf(roundTrips.p95Ms()), nowMs);
    this.#putIn(known);
    this.#updateMedian(known);
    this.#options.moved(namespace);
  }

  #updateTrips(known: OwnAgent, trips: number | undefined): void {
    const { session, share } = known;
    const before = share.trips;
    const sums = this.#sumsOf(known);
    if (sums !== undefined && before !== undefined) sums.trips.addTo(before, -1);
    share.trips = trips;
    if (sums !== undefined && trips !== undefined) sums.trips.addTo(trips, 1);
    const { crossings, moved } = this.#options;
    if (crossings.watchesAgents) {
      crossings.agentMoved(session, 'communication_latency', msOf(before), msOf(trips));
    }
    moved(session.namespace);
  }

  #sumsOf({ session, zone }: OwnAgent): ZoneSums | undefined {
    return zone === undefined ? undefined : this.#namespaces.get(session.namespace)?.zones.get(zone);
  }

  #updateMedian(known: OwnAgent): void {
    const { session, share } = known;
    const p50 = session.roundTrips.p50Ms();
    const median = p50 === undefined ? undefined : bucketOf(p50);
    if (median === share.median) return;
    const sums = this.#sumsOf(known);
    if (sums !== undefined && share.median !== undefined) sums.medians.addTo(share.median, -1);
    share.median = median;
    if (sums !== undefined && median !== undefined) sums.medians.addTo(median, 1);
  }

  #update(known: OwnAgent, trips: number | undefined, nowMs: number): void {
    const { share } = known;
    const { health, load, used } = share;
    const before = share.trips;
    this.#takeOut(known);
    this.#read(known, trips, nowMs);
    this.#putIn(known);
    const moved =
      share.health !== health || share.load !== load || share.used !== used || share.trips !== before;
    if (!moved) return;
    const { crossings, moved: tell } = this.#options;
    if (crossings.watchesAgents) {
      crossings.agentMoved(known.session, 'agent_health', health, share.health);
      crossings.agentMoved(known.session, 'system_load', load, share.load);
      crossings.agentMoved(known.session, 'communication_latency', msOf(before), msOf(share.trips));
    }
    tell(known.session.namespace);
  }

  #read(known: OwnAgent, trips: number | undefined, nowMs: number): void {
    const { session, share } = known;
    const { weight, available } = known.standing ?? UNKNOWN;
    const { report } = session;
    share.health = sessionHealth(session, this.#options.context, nowMs).score;
    share.load = report?.load === undefined ? undefined : Math.min(1, Math.max(0, report.load));
    share.weight = weight;
    share.trips = trips;
    if (report !== known.report || available !== (share.used !== undefined)) {
      share.used = available && report !== undefined ? amountsOf(report.usage) : undefined;
    }
    known.report = report;
  }

  #putIn(known: OwnAgent): void {
    const { zone, works } = known.standing ?? UNKNOWN;
    if (!works) return;
    const zones = this.#namespaces.get(known.session.namespace)?.zones;
    if (zones === undefined) return;
    let sums = zones.get(zone);
    if (sums === undefined) {
      sums = new ZoneSums();
      zones.set(zone, sums);
    }
    sums.add(known.share);
    sums.oldestMs = Math.min(sums.oldestMs, known.session.lastHeardMs);
    known.zone = zone;
  }

  #takeOut(known: OwnAgent): void {
    if (known.zone === undefined) return;
    const zones = this.#namespaces.get(known.session.namespace)?.zones;
    const sums = zones?.get(known.zone);
    sums?.remove(known.share);
    if (sums?.agents === 0 && zones !== undefined) zones.delete(known.zone);
    known.zone = undefined;
  }
}

const msOf = (bucket: number | undefined) => (bucket === undefined ? undefined : bucketValue(bucket));

/** How far a sum that was kept is from the one that was made anew, as a share of it. */
function driftOf(kept: ZoneSums, anew: ZoneSums): number {
  const pairs: [number, number][] = [
    [kept.agents, anew.agents],
    [kept.health, anew.health],
    [kept.load, anew.load],
    [kept.weight, anew.weight],
    [kept.trips.total, anew.trips.total],
  ];
  return Math.max(...pairs.map(([a, b]) => Math.abs(a - b) / Math.max(1, Math.abs(b))));
}
