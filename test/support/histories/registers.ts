import { linearizable, type Model, type Operation, type Verdict } from './search.ts';

/** What an entry held: the id of the write that it has its value of, each of which is unique; '' stands for no entry. */
export type Value = string;

export type RegisterAct =
  | { kind: 'read'; saw: Value }
  | { kind: 'put'; id: Value }
  | { kind: 'remove' }
  | { kind: 'swap'; expected: Value; id: Value }
  /** A compare-and-set that was refused; `saw`: what was there instead, where that is known. */
  | { kind: 'mismatch'; expected: Value; saw: Value | undefined };

/** One operation on one entry of the shared state. */
export interface RegisterOp extends Operation {
  client: string;
  act: RegisterAct;
}

const model = (initial: readonly Value[]): Model<Value, RegisterOp> => ({
  initial,
  key: (state) => state,
  kind: ({ act }) => ('id' in act ? `${act.kind} ${act.id}` : act.kind),
  step: (state, { act }) => {
    switch (act.kind) {
      case 'read':
        return act.saw === state ? [state] : [];
      case 'put':
        return [act.id];
      case 'remove':
        return [''];
      case 'swap':
        return act.expected === state ? [act.id] : [];
      default:
        return state !== act.expected && (act.saw === undefined || act.saw === state) ? [state] : [];
    }
  },
});

/**
 * Whether a history of one entry is linearizable.
 * @param initial what it may have held before; absent: nothing
 */
export function checkRegister(
  history: readonly RegisterOp[],
  initial: readonly Value[] = [''],
): Verdict<RegisterOp> {
  return linearizable(model(initial), withoutUnseen(history));
}

/**
 * Writes that had no answer and of which nobody saw anything are left out: an order in which one took effect is one also
 * without it. Where a compare-and-set was refused that does not know what it saw, it may have been one of them; then they
 * are all taken for the same write, which keeps the search short and finds less.
 */
function withoutUnseen(history: readonly RegisterOp[]): readonly RegisterOp[] {
  const blind = history.some(({ act }) => act.kind === 'mismatch' && act.saw === undefined);
  const seen = new Set(
    history.flatMap(({ act }) => {
      if (act.kind === 'read') return [act.saw];
      if (act.kind === 'mismatch') return [act.saw ?? ''];
      return act.kind === 'swap' ? [act.expected] : [];
    }),
  );
  return history.flatMap((op) => {
    const { act, ret } = op;
    if (Number.isFinite(ret) || !('id' in act) || seen.has(act.id)) return [op];
    return blind ? [{ ...op, act: { kind: 'put', id: 'unseen' } }] : [];
  });
}
