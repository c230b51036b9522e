import type { Check } from '../../../state/store.ts';

/** What a chore is done with. */
export interface ChoreContext {
  namespace: string;
  /** Belongs into the checks of every commit of the chore: it fails once another replica has taken over. */
  fence: Check;
  /** The store's clock. */
  storeMs: number;
}

/**
 * Something that must be done once per namespace, every second or two, by the replica that holds the namespace's lease of
 * care. It derives from what is stored what there is to do: whoever takes over goes on where it was left.
 */
export interface Chore {
  /** For logs. */
  name: string;
  /** Whether there may be something to do in a namespace that has no agents; absent: never. */
  hasWork?(namespace: string): boolean;
  /** A failure is logged, and the chore comes again. */
  run(context: ChoreContext): Promise<void>;
}
