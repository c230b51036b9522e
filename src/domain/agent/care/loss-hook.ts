import type { Append, Check } from '../../../state/store.ts';
import type { KnownAgent } from '../directory.ts';

/** A loss that has its consequences now. */
export interface Loss {
  namespace: string;
  /** The agent as it is when its loss is dealt with. */
  known: KnownAgent;
  /** The store's clock. */
  storeMs: number;
}

/** What a hook adds to the commit that deals with a loss. */
export interface LossEffects {
  checks?: readonly Check[];
  puts?: readonly { key: string; value: Uint8Array }[];
  deletes?: readonly string[];
  appends?: readonly Append[];
  /** What was done, for the event: "2 tasks queued again". Empty: nothing. */
  summary?: string;
  /** There is more than one commit should hold: the loss is not done with, and the hook is asked again. */
  more?: boolean;
}

/**
 * Takes away what a lost agent had: its tasks, its reservations. Asked again whenever the commit was refused, and by another
 * replica after a crash, until a commit with its effects and the mark "dealt with" is stored. Not asked where the agent's
 * policy keeps its work.
 */
export interface LossHook {
  /** For logs. */
  name: string;
  effects(loss: Loss): Promise<LossEffects>;
}
