import { linearizable, type Model, type Operation, type Verdict } from './search.ts';

export type LockAct =
  /** `token` undefined: granted or not, nobody knows. Refusals stand in no history: who waits before others makes them. */
  | { kind: 'acquire'; token: bigint | undefined; leaseMs: number }
  | { kind: 'renew'; token: bigint; leaseMs: number; ok: boolean }
  | { kind: 'release'; token: bigint; ok: boolean };

/** One operation on one lock. */
export interface LockOp extends Operation {
  client: string;
  act: LockAct;
}

interface LockState {
  /** Of the grant that holds, as text; '' when it is free, '?' where its holder never heard of it. */
  holding: string;
  /** The highest token so far. */
  highest: bigint;
  /** The lease can end no earlier than this… */
  earliest: number;
  /** … and no later than this, on the clock of the history. */
  latest: number;
}

/** The service's clock has milliseconds, and is another one. */
const SLACK_MS = 20;

const free: LockState = { holding: '', highest: -1n, earliest: 0, latest: 0 };

const leased = ({ call, ret }: LockOp, leaseMs: number) => ({
  earliest: call + leaseMs - SLACK_MS,
  latest: ret + leaseMs + SLACK_MS,
});

/** A lock whose lease begins somewhen between a call and its answer, so that its end is known that well too. */
const model: Model<LockState, LockOp> = {
  initial: [free],
  key: ({ holding, highest, earliest, latest }) => `${holding} ${highest} ${earliest} ${latest}`,
  kind: ({ act, call }) => (act.kind === 'release' ? `release ${act.token}` : `${call}`),
  step: (state, op) => {
    const { act } = op;
    if (act.kind === 'acquire') {
      if (state.holding !== '' && op.ret < state.earliest) return [];
      const lease = leased(op, act.leaseMs);
      if (act.token === undefined) return [{ ...lease, holding: '?', highest: state.highest }];
      if (act.token <= state.highest) return [];
      return [{ ...lease, holding: `${act.token}`, highest: act.token }];
    }
    const isHolder = state.holding === `${act.token}`;
    if (!act.ok) {
      if (!isHolder) return [state];
      return op.ret >= state.earliest ? [{ ...state, holding: '' }] : [];
    }
    if (!isHolder || op.call > state.latest) return [];
    if (act.kind === 'release') return [{ ...state, holding: '' }];
    const { earliest, latest } = leased(op, act.leaseMs);
    return [
      { ...state, earliest: Math.max(earliest, state.earliest), latest: Math.max(latest, state.latest) },
    ];
  },
};

/** Whether a history of one lock, free before it, is linearizable: at most one holder at a time, tokens that grow. */
export const checkLock = (history: readonly LockOp[]): Verdict<LockOp> => linearizable(model, history);

/**
 * Grants of which one had its answer before the other was asked for must have tokens in that order, and no two have the
 * same: also over losses of the store, which no order of the operations explains. Returns what is wrong, in words.
 */
export function tokensOutOfOrder(history: readonly LockOp[]): string[] {
  const grants = history
    .flatMap((op) =>
      op.act.kind === 'acquire' && op.act.token !== undefined ? [{ ...op, token: op.act.token }] : [],
    )
    .sort((a, b) => a.call - b.call);
  const answered = [...grants].sort((a, b) => a.ret - b.ret);
  const wrong: string[] = [];
  const seen = new Set<bigint>();
  let highest: (typeof grants)[number] | undefined;
  let next = 0;
  for (const grant of grants) {
    if (seen.has(grant.token))
      wrong.push(`token ${grant.token} was given out twice, also to ${grant.client}`);
    seen.add(grant.token);
    for (
      let before = answered[next];
      before !== undefined && before.ret < grant.call;
      before = answered[++next]
    ) {
      if (highest === undefined || before.token > highest.token) highest = before;
    }
    if (highest !== undefined && grant.token < highest.token) {
      wrong.push(`${grant.client} got ${grant.token} after ${highest.client} had ${highest.token}`);
    }
  }
  return wrong;
}
