import { create } from '@bufbuild/protobuf';
import { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type ReplyRecord,
  ReplyRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { agentOf } from '../../agent/record.ts';
import { answeredTries } from '../delivery-rules.ts';
import type { Mailboxes } from '../mailboxes.ts';
import type { OutcomeEffects, OutcomeInput } from '../outcomes.ts';
import {
  decodeReply,
  deliveryOfReply,
  encodeReply,
  isReplyKey,
  ONLY_ONE,
  replyKey,
} from './message-record.ts';

/** How a call's delivery ended, as its caller needs to know. */
export type CallEnd =
  | { kind: 'reply'; reply: ReplyRecord }
  /** The agent that had it is lost, left or was deregistered. */
  | { kind: 'gone'; why: string }
  /** It is not in the mailbox any more, and nobody said why: the store was replaced. */
  | { kind: 'vanished' };

interface Waiting {
  namespace: string;
  agentId: string;
  deliveryId: string;
  /** It was seen in the mailbox. */
  seen: boolean;
  end(end: CallEnd): void;
}

/** The answers to calls that wait on this replica; whichever replica the answering agent is attached to. */
export class Replies implements View {
  readonly #directory: AgentDirectory;
  readonly #mailboxes: Mailboxes;
  readonly #waiting = new Map<string, Waiting>();
  readonly #byAgent = new Map<string, Set<Waiting>>();

  constructor(options: { directory: AgentDirectory; mailboxes: Mailboxes }) {
    this.#directory = options.directory;
    this.#mailboxes = options.mailboxes;
    options.directory.listen({
      changed: (before, after) => {
        const agent = after ?? before;
        if (agent !== undefined) this.#look(agent.namespace, agent.id);
      },
    });
    options.mailboxes.listen((namespace, agentId) => this.#look(namespace, agentId));
  }

  /** Calls that wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Resolves when the delivery has ended; `stop` gives up. */
  wait(
    namespace: string,
    agentId: string,
    deliveryId: string,
  ): { ended: Promise<CallEnd>; stop: () => void } {
    const key = `${namespace}/${deliveryId}`;
    const agent = `${namespace}/${agentId}`;
    let end: (end: CallEnd) => void = () => {};
    const ended = new Promise<CallEnd>((resolve) => {
      end = resolve;
    });
    const waiting: Waiting = { namespace, agentId, deliveryId, seen: false, end: (how) => end(how) };
    this.#waiting.set(key, waiting);
    const same = this.#byAgent.get(agent) ?? new Set();
    this.#byAgent.set(agent, same.add(waiting));
    const stop = (): void => {
      this.#waiting.delete(key);
      if (same.delete(waiting) && same.size === 0) this.#byAgent.delete(agent);
    };
    // What happened before somebody listened.
    this.#look(namespace, agentId);
    return { ended, stop };
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    for (const { key, value } of entries) this.#hear(namespace, key, value);
  }

  apply(batch: ChangeBatch): void {
    for (const { key, value } of batch.changes) this.#hear(batch.namespace, key, value);
  }

  #hear(namespace: string, key: string, value: Uint8Array | undefined): void {
    if (value === undefined || !isReplyKey(key)) return;
    this.#waiting
      .get(`${namespace}/${deliveryOfReply(key)}`)
      ?.end({ kind: 'reply', reply: decodeReply(value) });
  }

  /** Looks at what calls to an agent wait for. The reply of one commit is heard before this is called for it. */
  #look(namespace: string, agentId: string): void {
    const calls = this.#byAgent.get(`${namespace}/${agentId}`);
    if (calls === undefined) return;
    const known = this.#directory.get(namespace, agentId);
    const liveness = known && agentOf(known.record).liveness;
    for (const waiting of calls) {
      const there = this.#mailboxes.get(namespace, agentId, waiting.deliveryId) !== undefined;
      if (known === undefined) waiting.end({ kind: 'gone', why: 'was deregistered' });
      else if (liveness === Agent_Liveness.LOST) waiting.end({ kind: 'gone', why: 'is lost' });
      else if (liveness === Agent_Liveness.LEFT) waiting.end({ kind: 'gone', why: 'has left' });
      else if (waiting.seen && !there) queueMicrotask(() => waiting.end({ kind: 'vanished' }));
      waiting.seen ||= there;
    }
  }
}

/** What the outcome of a message adds to its commit: the answer for who waits, and its payload goes with it. */
export function messageOutcome({ known, state, update, storeMs }: OutcomeInput): OutcomeEffects {
  const { record } = known;
  const over = state !== 'accepted';
  const final =
    over && (update === undefined || !update.retryable || answeredTries(record) >= record.maxTries);
  if (!final) return {};
  // Of many receivers, or as a dead letter, it may be needed yet; it goes with time.
  const done = state === 'succeeded' && record.payloadKey !== '' && isOnlyOne(record.id);
  const deletes = done ? [record.payloadKey] : [];
  if (!record.wantsAnswer) return { deletes };
  const reply = create(ReplyRecordSchema, {
    state,
    error: update?.error ?? '',
    agentId: known.agentId,
    time: timestampFromMs(storeMs),
    ...(update?.output === undefined ? {} : { output: update.output }),
  });
  return { deletes, puts: [{ key: replyKey(known.id), value: encodeReply(reply) }] };
}

/** A message to one agent has a payload of its own. Marked in its delivery's id. */
const isOnlyOne = (deliveryId: string): boolean => deliveryId.startsWith(ONLY_ONE);
