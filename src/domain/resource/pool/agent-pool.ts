import type { PlacementExplanation } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { LabelSelector } from '../../agent/label-selector.ts';
import type { Amounts } from '../amounts.ts';
import { WantClasses } from './classes.ts';
import { Decider } from './decider.ts';
import { explainPlacement } from './explain.ts';
import { type AgentEntry, Fleet } from './fleet.ts';
import { News } from './news.ts';
import { sameAgent, sameFilter, sameHold } from './same.ts';
import { type PoolSums, sumsOf } from './sums.ts';
import type {
  AgentFigures,
  Choice,
  ChooseOptions,
  ExplainOptions,
  Hold,
  PoolAgent,
  PoolListener,
  PoolUsage,
  Strategy,
  Want,
} from './types.ts';
import { figuresOf, usageOf } from './usage.ts';
import type { WantClass } from './want-class.ts';

export interface AgentPoolOptions {
  /** How many times its capacity of a resource may be reserved; not named: once. */
  overcommit: Readonly<Record<string, number>>;
  /** What an agent has of "slots" that does not declare it. */
  defaultSlots: number;
  defaultStrategy: Strategy;
}

/**
 * The agents of one namespace, what is held on each, and which of them something is best placed on. Pure memory: it is
 * told everything, in any order (a hold may come before its agent), and asks nobody.
 */
export class AgentPool {
  readonly #options: AgentPoolOptions;
  readonly #fleet: Fleet;
  readonly #classes: WantClasses;
  readonly #decider: Decider;
  readonly #news: News;
  /** Where each key holds something. */
  readonly #holds = new Map<string, AgentEntry>();

  constructor(options: AgentPoolOptions) {
    this.#options = options;
    this.#fleet = new Fleet(options);
    this.#classes = new WantClasses({ fleet: this.#fleet, defaultStrategy: options.defaultStrategy });
    this.#decider = new Decider({ fleet: this.#fleet, sets: this.#classes.sets });
    this.#news = new News({ fleet: this.#fleet, classes: this.#classes });
  }

  /** Agents that are known. */
  get size(): number {
    return this.#fleet.size;
  }

  setAgent(agent: PoolAgent): void {
    const entry = this.#fleet.entryFor(agent.id);
    const before = entry.agent;
    if (before !== undefined && sameAgent(before, agent)) return;
    this.#news.ofAgent(entry, agent, () => {
      this.#fleet.setAgent(entry, agent);
      this.#fleet.setCapacity(entry, agent.capacity);
      if (before === undefined || !sameFilter(before, agent)) {
        this.#classes.sets.changed(entry.slot, before, agent);
      }
    });
  }

  /** What is held on it stays held until it is freed. */
  removeAgent(id: string): void {
    const entry = this.#fleet.entry(id);
    const before = entry?.agent;
    if (entry === undefined || before === undefined) return;
    this.#news.ofAgent(entry, undefined, () => {
      this.#fleet.setAgent(entry, undefined);
      this.#fleet.setReport(entry, undefined, undefined);
      this.#fleet.setCapacity(entry, {});
      this.#classes.sets.changed(entry.slot, before, undefined);
      this.#fleet.tidy(entry);
    });
  }

  agent(id: string): PoolAgent | undefined {
    return this.#fleet.entry(id)?.agent;
  }

  *agents(): IterableIterator<PoolAgent> {
    for (const { agent } of this.#fleet.entries()) if (agent !== undefined) yield agent;
  }

  /** What its heartbeats say; undefined: nothing (any more). `atMs`: when it was said, for usage(). */
  setLoad(agentId: string, load: number | undefined, usage: Amounts | undefined, atMs?: number): void {
    const entry = this.#fleet.entry(agentId);
    if (entry?.agent !== undefined) this.#fleet.setReport(entry, load, usage, atMs);
  }

  /** Replaces what was held under the key. More than there is may be held: the pool does not refuse, it adds up. */
  hold(key: string, hold: Hold): void {
    const before = this.#holds.get(key);
    const entry = this.#fleet.entryFor(hold.agentId);
    const held = before?.holds.get(key);
    if (before === entry && held !== undefined && sameHold(held, hold)) return;
    this.#news.ofHolds(before, held, entry, hold, () => {
      if (before !== undefined) this.#fleet.removeHold(before, key);
      this.#fleet.addHold(entry, key, hold);
      this.#holds.set(key, entry);
      if (before !== undefined) this.#fleet.tidy(before);
    });
  }

  free(key: string): void {
    const entry = this.#holds.get(key);
    const held = entry?.holds.get(key);
    if (entry === undefined || held === undefined) return;
    this.#news.ofHolds(entry, held, undefined, undefined, () => {
      this.#fleet.removeHold(entry, key);
      this.#holds.delete(key);
      this.#fleet.tidy(entry);
    });
  }

  held(key: string): Hold | undefined {
    return this.#holds.get(key)?.holds.get(key);
  }

  /** All that is held on an agent, or on all, with its key. */
  *holds(agentId?: string): IterableIterator<[key: string, hold: Hold]> {
    if (agentId !== undefined) {
      yield* this.#fleet.entry(agentId)?.holds ?? [];
      return;
    }
    for (const { holds } of this.#fleet.entries()) yield* holds;
  }

  /** Equal wants have the same class until all who asked for it have released it. Throws LabelSelectorError. */
  classOf(want: Want): WantClass {
    return this.#classes.classOf(want);
  }

  /** Once for each classOf. */
  release(wantClass: WantClass): void {
    this.#classes.release(wantClass);
  }

  /** The best agent that has room now; of equal ones that which was chosen longest ago. */
  choose(wantClass: WantClass, options: ChooseOptions = {}): Choice | undefined {
    return this.#decider.choose(wantClass, options);
  }

  /** Whether it would fit on this agent now. */
  fits(wantClass: WantClass, agentId: string, options: ChooseOptions = {}): boolean {
    return this.#decider.fits(wantClass, agentId, options);
  }

  /**
   * The agent on which the least is in the way of something that has room nowhere now: what it lacks, as a share of what it
   * needs. Undefined: nobody could have it.
   */
  easiestToFree(wantClass: WantClass): string | undefined {
    return this.#decider.easiestToFree(wantClass);
  }

  /** Whether it would fit on this agent if that were empty. */
  couldFit(wantClass: WantClass, agentId: string): boolean {
    return this.#decider.couldFit(wantClass, agentId);
  }

  /** Why not, and where: all of it but quotas. */
  explain(wantClass: WantClass, options: ExplainOptions = {}): PlacementExplanation {
    return explainPlacement({ fleet: this.#fleet, decider: this.#decider, wantClass, options });
  }

  listen(listener: PoolListener): void {
    this.#news.listen(listener);
  }

  /** What there is, is held and is used, of the agents that the selector picks. */
  usage(options: { selector?: LabelSelector | undefined } = {}): PoolUsage {
    return usageOf(this.#fleet, options.selector);
  }

  /** Capacity and what is reserved of it, over agents that may be given work: far cheaper than usage(). */
  sums(): PoolSums {
    return sumsOf(this.#fleet);
  }

  /** The same of one agent. */
  usageOf(agentId: string): AgentFigures | undefined {
    const entry = this.#fleet.entry(agentId);
    return entry?.agent === undefined ? undefined : figuresOf(this.#fleet, entry, entry.agent);
  }

  /** How much of a resource is free on an agent; below 0 where more is held than there is. */
  freeOn(agentId: string, resource: string): number {
    const entry = this.#fleet.entry(agentId);
    return entry === undefined ? 0 : (this.#fleet.table(resource)?.freeOn(entry.slot) ?? 0);
  }

  /** With the same agents, reports and holds, without classes and listeners: to try things out on. */
  copy(): AgentPool {
    const steps = this.copying();
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  }

  /** The same step by step, for a large fleet; it is as this one was when it was begun. */
  *copying(): Generator<void, AgentPool> {
    const copy = new AgentPool(this.#options);
    const entries = Array.from(this.#fleet.entries(), ({ agent, load, usage, reportedMs }) => {
      return { agent, load, usage, reportedMs };
    });
    const holds = [...this.holds()];
    for (const { agent, load, usage, reportedMs } of entries) {
      if (agent === undefined) continue;
      copy.setAgent(agent);
      copy.setLoad(agent.id, load, usage, reportedMs);
      yield;
    }
    for (const [key, hold] of holds) {
      copy.hold(key, hold);
      yield;
    }
    return copy;
  }
}
