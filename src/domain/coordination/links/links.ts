import type { Message } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { MessageTrace_Step } from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { DeliveryRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { DomainError } from '../../../lib/errors.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { agentNotFound } from '../../agent/errors.ts';
import { isAttached } from '../../agent/liveness.ts';
import { agentOf } from '../../agent/record.ts';
import { receiverGone } from '../messages/receivers.ts';
import type { LinkPolicyView } from './link-policy-view.ts';
import type { Refusals } from './refusals.ts';
import { Throttles } from './throttles.ts';

/** What a policy made of one receiver. */
export interface Mark {
  policyId: string;
  /** For whom it was, where it was rerouted; else empty. */
  reroutedFrom: string;
  /** It was too much: a dead letter takes the place of the delivery. */
  throttled: boolean;
}

export type Marks = ReadonlyMap<string, Mark>;

/** What policies make of a message to some receivers. */
export interface Routing {
  /** The receivers, throttled ones included. */
  to: readonly string[];
  /** By receiver; most have none. */
  marks: Marks;
  /** How many were left out because they are muted. */
  muted: number;
  throttled: number;
  /** It is about to be stored, in these deliveries: what throttles let pass is not counted again when it comes by. */
  counted(deliveryIds: (agentId: string) => string): void;
  /** It was stored. */
  stored(): void;
  /** It was not stored, or that is not known: what it took from throttles is given back. */
  undo(): void;
}

/** A message on its way. */
export interface Sent {
  namespace: string;
  message: Message;
  /** The agent in whose session it is sent; undefined: none, and what the caller says of itself counts. */
  agentId: string | undefined;
  caller: Caller;
  /** What the sender named: "agent:<id>", "capability:<name>"... */
  target: string;
  /** Somebody waits for an answer of one that is attached. */
  call: boolean;
}

export interface LinksOptions {
  view: LinkPolicyView;
  directory: AgentDirectory;
  refusals: Refusals;
  clock: Clock;
  metrics: LinkMetrics;
}

export interface LinkMetrics {
  /** Messages, each receiver counted: "sent", "muted", "throttled" or "rerouted". */
  message(outcome: string, count: number): void;
}

const { MUTED, THROTTLED } = MessageTrace_Step;

/** Applies link policies to messages that are sent. */
export class Links {
  readonly #options: LinksOptions;
  readonly #throttles: Throttles;

  constructor(options: LinksOptions) {
    this.#options = options;
    this.#throttles = new Throttles(options);
  }

  /** For choosing among agents with a capability: who may be chosen; undefined: all. */
  mayReceive(sent: Pick<Sent, 'namespace' | 'message' | 'agentId' | 'caller'>) {
    const { view } = this.#options;
    const { namespace } = sent;
    if (!view.any(namespace)) return undefined;
    const sender = this.#senderOf(sent);
    return (agentId: string): boolean => view.of(namespace, sender, agentId)?.policy.action.case !== 'mute';
  }

  /**
   * What policies make of a message; undefined: nothing.
   * @throws LinkRefusal LINK_MUTED or LINK_THROTTLED when nobody is left; DomainError AGENT_NOT_FOUND or RECEIVER_GONE of the one
   * that it is rerouted to
   */
  route(sent: Sent, receivers: readonly string[]): Routing | undefined {
    const { view, metrics } = this.#options;
    const { namespace } = sent;
    if (!view.any(namespace)) return undefined;
    const sender = this.#senderOf(sent);
    const marks = new Map<string, Mark>();
    const to = new Set<string>();
    const muted: { agentId: string; policyId: string }[] = [];
    const throttled: { agentId: string; policyId: string; waitMs: number }[] = [];
    const takes: { agentId: string; deliveryId?: string; giveBack(): void }[] = [];
    const undo = (): void => {
      for (const { deliveryId, giveBack } of takes.splice(0)) {
        // One that came by was stored, though its commit failed.
        if (deliveryId === undefined || this.#throttles.uncounted(namespace, deliveryId)) giveBack();
      }
    };
    for (const agentId of receivers) {
      const known = view.of(namespace, sender, agentId);
      const policyId = known?.id ?? '';
      const action = known?.policy.action;
      if (action?.case === 'mute') {
        muted.push({ agentId, policyId });
      } else if (action?.case === 'reroute') {
        const target = action.value.agentId;
        this.#mustBeThere(sent, target);
        // Who receives it in its own right has it for that reason.
        if (to.has(target) && (marks.get(target)?.reroutedFrom ?? '') === '') continue;
        to.add(target);
        marks.set(target, { policyId, reroutedFrom: agentId, throttled: false });
      } else if (known !== undefined && action?.case === 'throttle') {
        const taken = this.#throttles.take(namespace, known, sender ?? '', agentId);
        if (taken.waitMs === 0) takes.push({ agentId, giveBack: taken.giveBack });
        else throttled.push({ agentId, policyId, waitMs: taken.waitMs });
        to.add(agentId);
        marks.set(agentId, { policyId, reroutedFrom: '', throttled: taken.waitMs > 0 });
      } else {
        to.add(agentId);
        marks.delete(agentId);
      }
    }
    const tell = (): void => {
      for (const each of muted) this.#keptBack(sent, MUTED, each);
      for (const each of throttled) this.#keptBack(sent, THROTTLED, each);
    };
    if (to.size === throttled.length && (muted.length > 0 || throttled.length > 0)) {
      undo();
      const [least] = throttled.toSorted((a, b) => a.waitMs - b.waitMs);
      if (least !== undefined) throw linkThrottled(least, tell);
      throw linkMuted(muted[0]?.agentId ?? '', muted[0]?.policyId ?? '', tell);
    }
    return {
      to: [...to],
      marks,
      muted: muted.length,
      throttled: throttled.length,
      counted: (idOf) => {
        for (const take of takes) {
          const deliveryId = idOf(take.agentId);
          if (this.#throttles.counted(namespace, deliveryId)) take.deliveryId = deliveryId;
        }
      },
      stored: () => {
        tell();
        const rerouted = [...marks.values()].filter(({ reroutedFrom }) => reroutedFrom !== '').length;
        if (rerouted > 0) metrics.message('rerouted', rerouted);
      },
      undo,
    };
  }

  /** A message came by in the change log. */
  seen(namespace: string, record: DeliveryRecord): void {
    if (record.linkPolicyId === '' || record.item.case !== 'message') return;
    const known = this.#options.view.get(namespace, record.linkPolicyId);
    if (known === undefined) return;
    const { source } = record.item.value;
    const sender = this.#options.directory.get(namespace, source) === undefined ? '' : source;
    this.#throttles.seen(namespace, known, record.id, sender, record.agentId);
  }

  /** The agent that sends: that of the session, or of the token, or whose name the caller takes. */
  #senderOf({
    namespace,
    message,
    agentId,
    caller,
  }: Pick<Sent, 'namespace' | 'message' | 'agentId' | 'caller'>) {
    if (agentId !== undefined) return agentId;
    const { directory } = this.#options;
    const own = `agent:${namespace}/`;
    const actor = actorOf(caller, directory);
    if (actor.startsWith(own)) return actor.slice(own.length);
    return directory.get(namespace, message.source) === undefined ? undefined : message.source;
  }

  #mustBeThere({ namespace, call }: Sent, agentId: string): void {
    const known = this.#options.directory.get(namespace, agentId);
    if (known === undefined) throw agentNotFound(namespace, agentId);
    if (call && !isAttached(agentOf(known.record).liveness))
      throw receiverGone(`agent ${agentId}, to which a link policy reroutes, is not attached`);
  }

  #keptBack(
    sent: Sent,
    step: MessageTrace_Step,
    { agentId, policyId }: { agentId: string; policyId: string },
  ) {
    const { refusals, metrics } = this.#options;
    refusals.add({ ...sent, step, agentId, policyId });
    metrics.message(step === MUTED ? 'muted' : 'throttled', 1);
  }
}

/** Nobody is left to receive a message. Who passes that on to the sender has it told and counted: it may be a repetition. */
export class LinkRefusal extends DomainError {
  readonly tell: () => void;
  constructor(options: ConstructorParameters<typeof DomainError>[0] & { tell: () => void }) {
    super(options);
    this.tell = options.tell;
  }
}

const linkMuted = (agentId: string, policyId: string, tell: () => void): LinkRefusal =>
  new LinkRefusal({
    reason: ErrorReason.LINK_MUTED,
    message: `link policy ${policyId} mutes messages from this sender to agent ${agentId}`,
    metadata: { policy_id: policyId, agent_id: agentId },
    tell,
  });

const linkThrottled = (
  { agentId, policyId, waitMs }: { agentId: string; policyId: string; waitMs: number },
  tell: () => void,
): LinkRefusal =>
  new LinkRefusal({
    reason: ErrorReason.LINK_THROTTLED,
    message: `link policy ${policyId} lets no more messages from this sender to agent ${agentId} pass now`,
    metadata: { policy_id: policyId, agent_id: agentId },
    retryAfterMs: waitMs,
    tell,
  });
