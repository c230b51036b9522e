import { createHash } from 'node:crypto';
import { Agent_Liveness, Agent_Phase } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { SendMessage } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { agentNotFound } from '../../agent/errors.ts';
import { matches, parseLabelSelector } from '../../agent/label-selector.ts';
import { isAttached, mayBeThere } from '../../agent/liveness.ts';
import { agentOf } from '../../agent/record.ts';
import type { Mailboxes } from '../mailboxes.ts';
import { KeyHolders } from './key-holders.ts';
import type { SubscriptionView } from './subscription-view.ts';

export interface ReceiversOptions {
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  subscriptions: SubscriptionView;
}

/**
 * Which agents with a capability will do. `attached`: only those that are attached, somebody waits for an answer. `living`:
 * those too that are disconnected for now, where an ordering key is to stay with its agent. `any`: the same, or else those that may
 * come back.
 */
export type Who = 'attached' | 'living' | 'any';

/** How an agent with a capability is chosen. */
export interface Choice {
  /** '': any will do. */
  orderingKey: string;
  who: Who;
  /** One that is not to get it. */
  except?: string;
  /** Preferred are those for whom this holds; undefined: all. */
  mayReceive?: ((agentId: string) => boolean) | undefined;
}

/** Finds out whom a message is for. */
export class Receivers {
  readonly #options: ReceiversOptions;
  readonly #holders: KeyHolders;

  constructor(options: ReceiversOptions) {
    this.#options = options;
    this.#holders = new KeyHolders(options.mailboxes);
  }

  /**
   * The ids of the receivers, without repetition.
   * @param present only agents that are attached will do: somebody waits for an answer
   * @param mayReceive whom of those with a capability links let receive it; undefined: all
   * @throws DomainError AGENT_NOT_FOUND, NO_RECEIVER, RECEIVER_GONE
   */
  of(
    namespace: string,
    to: SendMessage['to'],
    orderingKey: string,
    present: boolean,
    mayReceive?: (agentId: string) => boolean,
  ): string[] {
    const { directory, subscriptions } = this.#options;
    switch (to.case) {
      case 'agentId': {
        const known = directory.get(namespace, to.value);
        if (known === undefined) throw agentNotFound(namespace, to.value);
        if (present && !isAttached(agentOf(known.record).liveness))
          throw receiverGone(`agent ${to.value} is not attached`);
        return [to.value];
      }
      case 'capability':
        return [
          this.withCapability(namespace, to.value, {
            orderingKey,
            who: present ? 'attached' : 'any',
            mayReceive,
          }),
        ];
      case 'topic':
        return nobodyIs(
          subscriptions.receivers(namespace, to.value),
          `nobody is subscribed to topic ${to.value}`,
        );
      case 'selector': {
        const selector = parseLabelSelector(to.value);
        const picked: string[] = [];
        for (const known of directory.all(namespace)) {
          const { spec, phase } = agentOf(known.record);
          if (phase !== Agent_Phase.STOPPED && matches(selector, spec?.labels ?? {})) picked.push(known.id);
        }
        return nobodyIs(picked.sort(), `the selector picks no agent of namespace ${namespace}`);
      }
      default:
        throw new Error('a message without a receiver passed validation');
    }
  }

  /**
   * The agent with a capability that gets the next message. An ordering key stays with an agent that lives and has unfinished
   * messages of it, as far as this replica knows.
   * @throws DomainError NO_RECEIVER, RECEIVER_GONE
   */
  withCapability(namespace: string, capability: string, choice: Choice): string {
    const { orderingKey, who, except, mayReceive } = choice;
    const able: KnownAgent[] = [];
    let some = false;
    for (const known of this.#options.directory.all(namespace)) {
      const { spec, phase } = agentOf(known.record);
      if (spec?.capabilities.some(({ name }) => name === capability) !== true) continue;
      some = true;
      const working = phase === Agent_Phase.ACTIVE || phase === Agent_Phase.REGISTERED;
      if (working && known.id !== except) able.push(known);
    }
    if (!some) throw noReceiver(`no agent of namespace ${namespace} has the capability ${capability}`);
    const there = thoseThere(able, who, orderingKey !== '');
    const allowed = mayReceive === undefined ? there : there.filter(({ id }) => mayReceive(id));
    // Where nobody is allowed, the one that is chosen shows which policy forbids it.
    const candidates = allowed.length > 0 ? allowed : there;
    const chosen =
      orderingKey === ''
        ? this.#leastLoaded(namespace, candidates)
        : this.#byKey(namespace, capability, candidates, orderingKey);
    if (chosen === undefined)
      throw receiverGone(`no agent with the capability ${capability} is there to take it`);
    return chosen;
  }

  #byKey(namespace: string, capability: string, candidates: readonly KnownAgent[], key: string) {
    const holders = candidates.filter(({ id }) => this.#holders.has(namespace, capability, key, id));
    return byWeight(holders.length > 0 ? holders : candidates, key);
  }

  #leastLoaded(namespace: string, candidates: readonly KnownAgent[]): string | undefined {
    const { mailboxes } = this.#options;
    let best: { id: string; count: number; salt: number } | undefined;
    for (const { id } of candidates) {
      const count = mailboxes.count(namespace, id);
      const salt = this.#turn(id);
      if (best === undefined || count < best.count || (count === best.count && salt < best.salt)) {
        best = { id, count, salt };
      }
    }
    if (best !== undefined) this.#turns.set(best.id, ++this.#clock);
    return best?.id;
  }

  /** Among equals, whoever was chosen longest ago. */
  readonly #turns = new Map<string, number>();
  #clock = 0;

  #turn(id: string): number {
    if (this.#turns.size > MAX_TURNS) this.#turns.clear();
    return this.#turns.get(id) ?? 0;
  }
}

const MAX_TURNS = 100_000;

/** @param keyed an agent that is disconnected for now still holds what it has of the key */
function thoseThere(able: readonly KnownAgent[], who: Who, keyed: boolean): readonly KnownAgent[] {
  const where = (holds: (liveness: Agent_Liveness) => boolean) =>
    able.filter(({ record }) => holds(agentOf(record).liveness));
  const there = where(keyed && who !== 'attached' ? isLiving : isAttached);
  if (there.length > 0 || who !== 'any') return there;
  const away = where(mayBeThere);
  return away.length > 0 ? away : able;
}

const isLiving = (liveness: Agent_Liveness): boolean =>
  isAttached(liveness) || liveness === Agent_Liveness.DISCONNECTED;

/** The same key goes to the same agent of those, and few keys move when one comes or goes (rendezvous hashing). */
function byWeight(candidates: readonly KnownAgent[], key: string): string | undefined {
  let best: { id: string; weight: string } | undefined;
  for (const { id } of candidates) {
    const weight = createHash('sha256').update(`${key}\0${id}`).digest('hex');
    if (best === undefined || weight > best.weight) best = { id, weight };
  }
  return best?.id;
}

function nobodyIs(receivers: string[], words: string): string[] {
  if (receivers.length === 0) throw noReceiver(words);
  return receivers;
}

const noReceiver = (message: string): DomainError =>
  new DomainError({ reason: ErrorReason.NO_RECEIVER, message });

export const receiverGone = (message: string): DomainError =>
  new DomainError({ reason: ErrorReason.RECEIVER_GONE, message, retryAfterMs: 1000 });
