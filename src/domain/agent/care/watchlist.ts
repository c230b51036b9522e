import type { AgentDirectory, DirectoryListener, KnownAgent } from '../directory.ts';
import { concerns } from './needs.ts';
import { standingOf } from './troubles.ts';

/** The agents about which something may be due, kept as changes come: nobody goes through all of them. */
export class Watchlist implements DirectoryListener {
  readonly #namespaces = new Map<string, Set<string>>();
  /** Those that changed since they were looked at. */
  readonly #changed = new Map<string, Set<string>>();
  readonly #onChange: (namespace: string) => void;

  constructor(options: { directory: AgentDirectory; onChange(namespace: string): void }) {
    this.#onChange = options.onChange;
    options.directory.listen(this);
  }

  changed(before: KnownAgent | undefined, after: KnownAgent | undefined): void {
    const agent = after ?? before;
    if (agent === undefined) return;
    const { namespace, id } = agent;
    if (after !== undefined && concerns(after.record)) {
      add(this.#namespaces, namespace, id);
      add(this.#changed, namespace, id);
      this.#onChange(namespace);
      return;
    }
    remove(this.#namespaces, namespace, id);
    remove(this.#changed, namespace, id);
    // It may be the one that sets the brake.
    if (after !== undefined && standingOf(after.record) === 'failing') this.#onChange(namespace);
  }

  /** All of a namespace. */
  all(namespace: string): string[] {
    this.#changed.delete(namespace);
    return [...(this.#namespaces.get(namespace) ?? [])];
  }

  /** Those that changed since the last look. */
  takeChanged(namespace: string): string[] {
    const changed = this.#changed.get(namespace);
    this.#changed.delete(namespace);
    return [...(changed ?? [])];
  }
}

function add(sets: Map<string, Set<string>>, namespace: string, id: string): void {
  const set = sets.get(namespace);
  if (set === undefined) sets.set(namespace, new Set([id]));
  else set.add(id);
}

function remove(sets: Map<string, Set<string>>, namespace: string, id: string): void {
  const set = sets.get(namespace);
  set?.delete(id);
  if (set?.size === 0) sets.delete(namespace);
}
