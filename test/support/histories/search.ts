/** An operation of a history: when it was asked for and when its answer came, on one clock, milliseconds. */
export interface Operation {
  call: number;
  /** Infinity: no answer came. It had its effect at some time after `call`, or never. */
  ret: number;
}

/** What operations on one object do, one after the other. */
export interface Model<State, Op extends Operation> {
  /** States it may begin in. */
  initial: readonly State[];
  /** The states after the operation, with the answer that it had; none: that answer cannot be given in this state. */
  step(state: State, operation: Op): readonly State[];
  /** Equal for equal states. */
  key(state: State): string;
  /** Equal for operations without an answer that do the same: then only the first of them need be tried. */
  kind?(operation: Op): string;
}

export type Verdict<Op> =
  | { linearizable: true }
  /** `done` answers can be explained, and then none of the `stuck` ones can come next. */
  | { linearizable: false; done: number; stuck: Op[]; undecided?: true };

/** More than any real history of a round needs; a search that takes longer is told as such, not as a success. */
const MAX_STEPS = 500_000;

/**
 * Whether there is an order of the operations in which each takes effect between its call and its answer and every
 * answer is what the model gives: linearizability of one object (Herlihy and Wing 1990). The search is that of Wing and
 * Gong (1993), with a memory of configurations that led nowhere (Lowe 2017): a configuration is the set of operations
 * that have taken effect, and the state. Operations without an answer may take effect at any time, or not at all; they
 * are tried last, since most orders need none of them.
 */
export function linearizable<State, Op extends Operation>(
  model: Model<State, Op>,
  history: readonly Op[],
): Verdict<Op> {
  const byCall = [...history].sort((a, b) => a.call - b.call);
  const answered = byCall.filter(({ ret }) => Number.isFinite(ret));
  const open = byCall.filter(({ ret }) => !Number.isFinite(ret));
  const answeredDone = new Set<number>();
  const openDone = new Set<number>();
  const hopeless = new Set<string>();
  let steps = 0;
  let done = 0;
  let stuck: Op[] = answered.slice(0, 1);

  /** Operations that may come next: no answer that is still to be explained came before their call. */
  const candidates = (first: number): { at: number; op: Op; of: Set<number> }[] => {
    let earliest = Number.POSITIVE_INFINITY;
    const found: { at: number; op: Op; of: Set<number> }[] = [];
    for (let at = first; at < answered.length; at += 1) {
      const op = answered[at];
      if (op === undefined || op.call > earliest) break;
      if (answeredDone.has(at)) continue;
      earliest = Math.min(earliest, op.ret);
      found.push({ at, op, of: answeredDone });
    }
    const ready = found.filter(({ op }) => op.call <= earliest).sort((a, b) => a.op.ret - b.op.ret);
    const kinds = new Set<string>();
    for (const [at, op] of open.entries()) {
      if (op.call > earliest) break;
      const kind = model.kind?.(op) ?? `${at}`;
      if (openDone.has(at) || kinds.has(kind)) continue;
      kinds.add(kind);
      ready.push({ at, op, of: openDone });
    }
    return ready;
  };

  const search = (state: State, from: number): boolean => {
    let first = from;
    while (answeredDone.has(first)) first += 1;
    if (answeredDone.size === answered.length) return true;
    const ahead: number[] = [];
    for (let at = first + 1; first + ahead.length < answeredDone.size; at += 1) {
      if (answeredDone.has(at)) ahead.push(at);
    }
    const key = `${first} ${ahead} ${[...openDone].sort((a, b) => a - b)} ${model.key(state)}`;
    if (hopeless.has(key)) return false;
    steps += 1;
    if (steps > MAX_STEPS) return false;
    const next = candidates(first);
    if (answeredDone.size > done) {
      done = answeredDone.size;
      stuck = next.map(({ op }) => op);
    }
    for (const { at, op, of } of next) {
      for (const after of model.step(state, op)) {
        of.add(at);
        if (search(after, first)) return true;
        of.delete(at);
      }
    }
    // With too many steps everything on the way counts as hopeless: the search is given up.
    hopeless.add(key);
    return false;
  };

  for (const state of model.initial) {
    if (search(state, 0)) return { linearizable: true };
  }
  return { linearizable: false, done, stuck, ...(steps > MAX_STEPS && { undecided: true as const }) };
}
