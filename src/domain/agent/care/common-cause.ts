import type { DirectoryListener, KnownAgent } from '../directory.ts';
import type { Trouble } from './brake.ts';
import { timeOf } from './failures.ts';

/** Failures are gathered in steps of so long. */
const STEP_MS = 5000;
/** A share of a namespace this large that fails within a few seconds has one cause, and it is not the agents. */
const SHARE = 0.1;
/** So many must be that share; of fewer, half of all agents, and two at least. */
const ENOUGH = 5;
const HALF = 0.5;

/** Which agents failed in a step, and how often. */
type Step = Map<string, number>;

/**
 * Knows which agents of a namespace failed at a time, from the failures in their records: those of many agents at once
 * (a proxy was restarted, a switch was out) say nothing about any one of them.
 */
export class CommonCauses implements DirectoryListener {
  readonly #namespaces = new Map<string, Map<number, Step>>();
  readonly #troubleOf: (namespace: string) => Trouble;

  constructor(options: { troubleOf(namespace: string): Trouble }) {
    this.#troubleOf = options.troubleOf;
  }

  changed(before: KnownAgent | undefined, after: KnownAgent | undefined): void {
    const was = before?.record.failures;
    const is = after?.record.failures;
    if (was === is || ((was?.length ?? 0) === 0 && (is?.length ?? 0) === 0)) return;
    const agent = after ?? before;
    if (agent === undefined) return;
    for (const failure of was ?? []) this.#add(agent, timeOf(failure), -1);
    for (const failure of is ?? []) this.#add(agent, timeOf(failure), 1);
  }

  /** Whether an agent's failure at this time was one of many: of the step of it and those next to it. */
  isOneOfMany(namespace: string, agentId: string, timeMs: number): boolean {
    const steps = this.#namespaces.get(namespace);
    if (steps === undefined) return false;
    const at = Math.floor(timeMs / STEP_MS);
    const failed = new Set([agentId]);
    for (const step of [at - 1, at, at + 1]) for (const id of steps.get(step)?.keys() ?? []) failed.add(id);
    const share = failed.size / Math.max(1, this.#troubleOf(namespace).agents);
    return failed.size >= ENOUGH ? share >= SHARE : failed.size >= 2 && share >= HALF;
  }

  #add({ namespace, id }: KnownAgent, timeMs: number, by: 1 | -1): void {
    const steps = this.#namespaces.get(namespace) ?? new Map<number, Step>();
    const at = Math.floor(timeMs / STEP_MS);
    const step = steps.get(at) ?? new Map<string, number>();
    const count = (step.get(id) ?? 0) + by;
    if (count > 0) step.set(id, count);
    else step.delete(id);
    if (step.size > 0) steps.set(at, step);
    else steps.delete(at);
    if (steps.size > 0) this.#namespaces.set(namespace, steps);
    else this.#namespaces.delete(namespace);
  }
}
