import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { AgentSpecSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { SubscriptionSchema } from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { Outgoing } from './message-book.ts';
import type { Random } from './random.ts';

/** Of ten agents, one and the same has a role each. */
const ROLES = 10;
const CAPABILITY = 0;
const SUBSCRIBER = 1;
const PREFIX_SUBSCRIBER = 2;
const TEAM = 3;
const DIRECT = [4, 5];
/** Agents that get messages of their own: few, so that they wait in line. */
const MOST_DIRECT = 8;
const KEYS = ['k1', 'k2', 'k3'];
/** Larger than what stands in a mailbox itself. */
const LARGE = 1500;

const indexOf = (agentId: string): number => Number(agentId.slice(agentId.lastIndexOf('-') + 1));
const roleOf = (agentId: string): number => indexOf(agentId) % ROLES;

/** What an agent is registered with. */
export function specOf(agentId: string): MessageInitShape<typeof AgentSpecSchema> {
  const role = roleOf(agentId);
  return {
    capabilities: role === CAPABILITY ? [{ name: 'sum' }] : [],
    labels: role === TEAM ? { team: 'blue' } : {},
  };
}

export function subscriptionOf(agentId: string): MessageInitShape<typeof SubscriptionSchema> | undefined {
  const topic = { [SUBSCRIBER]: 'jobs.done', [PREFIX_SUBSCRIBER]: 'jobs.*' }[roleOf(agentId)];
  return topic === undefined ? undefined : { id: `sub-${agentId}`, agentId, topic };
}

/** Makes messages of all kinds, with who has to get them. */
export class Addresses {
  readonly #with = new Map<number, string[]>();

  constructor(agentIds: readonly string[]) {
    for (let role = 0; role < ROLES; role += 1) {
      this.#with.set(
        role,
        agentIds.filter((id) => roleOf(id) === role),
      );
    }
  }

  /** @param like goes the same way, and waits in the same line */
  draw(random: Random, source: string, id: string, like?: Outgoing): Outgoing {
    const way = like === undefined ? this.#way(random) : wayOf(like);
    const orderingKey = like?.request.orderingKey ?? (random.chance(0.4) ? random.pick(KEYS) : '');
    const expires = random.chance(0.08);
    const outgoing = make(random, source, id, { ...way, key: orderingKey || source });
    Object.assign(outgoing.request, {
      orderingKey,
      ...(expires && { expireAfter: durationFromMs(random.between(300, 1500)) }),
    });
    return { ...outgoing, expires };
  }

  drawCall(random: Random, source: string, id: string): Outgoing {
    const able = random.chance(0.6);
    const call = able && random.chance(0.5) ? 'again' : 'once';
    return {
      ...make(random, source, id, { ...(able ? this.#able() : this.#direct(random)), key: source }),
      call,
    };
  }

  #way(random: Random): Way {
    const draw = random.next();
    if (draw < 0.45) return this.#direct(random);
    if (draw < 0.75) return this.#able();
    return draw < 0.9 ? this.#topic(random) : this.#team();
  }

  #direct(random: Random): Way {
    const ids = DIRECT.flatMap((role) => this.#ids(role)).slice(0, MOST_DIRECT);
    const value = random.pick(ids);
    return { to: { case: 'agentId' as const, value }, group: [value], everyone: false };
  }

  #able(): Way {
    return {
      to: { case: 'capability' as const, value: 'sum' },
      group: this.#ids(CAPABILITY),
      everyone: false,
    };
  }

  #topic(random: Random): Way {
    const value = random.pick(['jobs.done', 'jobs.late']);
    const exact = value === 'jobs.done' ? this.#ids(SUBSCRIBER) : [];
    return {
      to: { case: 'topic' as const, value },
      group: [...exact, ...this.#ids(PREFIX_SUBSCRIBER)],
      everyone: true,
    };
  }

  #team(): Way {
    return { to: { case: 'selector' as const, value: 'team=blue' }, group: this.#ids(TEAM), everyone: true };
  }

  #ids(role: number): string[] {
    return this.#with.get(role) ?? [];
  }
}

/** Whom a message is for, and who may get it then. */
interface Way extends Pick<Outgoing, 'everyone'> {
  to: NonNullable<Outgoing['request']['to']>;
  group: readonly string[];
}

function wayOf({ request: { to }, group, everyone }: Outgoing): Way {
  if (to === undefined) throw new Error('a message for nobody');
  return { to, group: [...group], everyone };
}

function make(
  random: Random,
  source: string,
  id: string,
  { to, group, everyone, key }: Way & Pick<Outgoing, 'key'>,
): Outgoing {
  const content = `${id} says ${random.between(0, 1_000_000)}${random.chance(0.15) ? '.'.repeat(LARGE) : ''}`;
  const message = { id, source, type: 'note', data: { data: { case: 'text' as const, value: content } } };
  return {
    id,
    source,
    content,
    key,
    everyone,
    group: new Set(group),
    expires: false,
    request: { message, to },
  };
}
