import type { Event } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clients } from '../clients.ts';

const VERDICTS = new Set([
  ...['agent.connected', 'agent.recovered', 'agent.moved', 'agent.suspect', 'agent.answering'],
  ...['agent.disconnected', 'agent.lost', 'agent.left'],
]);
const ATTACHED = new Set(['agent.connected', 'agent.recovered', 'agent.moved']);
/** A command declined as retryable comes again; only these end it. */
const OUTCOMES = new Set(['command.succeeded', 'command.failed', 'command.expired', 'command.given_up']);

/** Everything that the service says has happened, read a round at a time. */
export class EventBook {
  /** Events that end a delivery, by delivery id. */
  readonly outcomes = new Map<string, Event[]>();
  /** "agent.restart_ordered", by the reason that was given. */
  readonly orders = new Map<string, number>();
  /** Verdicts in their order, by "agent epoch". */
  readonly verdicts = new Map<string, Event[]>();
  /** Agents whose messages were given to others, since they were asked for. */
  #movedFrom = new Set<string>();
  count = 0;
  #readTo = 0n;

  async read({ monitoring }: Clients): Promise<void> {
    const news: Event[] = [];
    let pageToken = '';
    do {
      const page = await monitoring.listEvents({ pageSize: 1000, pageToken }, { timeoutMs: 5_000 });
      const fresh = page.events.filter(({ revision }) => revision > this.#readTo);
      news.push(...fresh);
      pageToken = fresh.length < page.events.length ? '' : page.nextPageToken;
    } while (pageToken !== '');
    for (const event of news.reverse()) this.#note(event);
  }

  #note(event: Event): void {
    this.count += 1;
    if (event.revision > this.#readTo) this.#readTo = event.revision;
    const { type, attributes, message, agentId } = event;
    if (OUTCOMES.has(type)) push(this.outcomes, attributes.delivery_id ?? '', event);
    if (VERDICTS.has(type)) push(this.verdicts, `${agentId} ${attributes.epoch}`, event);
    if (type === 'agent.loss_handled' && message.includes('messages given to others'))
      this.#movedFrom.add(agentId);
    if (type === 'agent.restart_ordered') {
      const reason = message.slice(message.lastIndexOf(': ') + 2);
      this.orders.set(reason, (this.orders.get(reason) ?? 0) + 1);
    }
  }

  takeMovedFrom(): ReadonlySet<string> {
    const taken = this.#movedFrom;
    this.#movedFrom = new Set();
    return taken;
  }

  /** What was judged twice: the same verdict on a session again, with no other in between. */
  judgedTwice(): string[] {
    const twice: string[] = [];
    for (const [whom, events] of this.verdicts) {
      const course = events.map(({ type, actor, replicaId, revision }) =>
        [type, actor, replicaId, revision].join(' '),
      );
      for (const [index, { type }] of events.entries()) {
        const attached = ATTACHED.has(type) && index > 0;
        if (events[index - 1]?.type === type || attached) twice.push(`${whom}: ${course.join(', ')}`);
      }
    }
    return twice;
  }
}

function push<T>(into: Map<string, T[]>, key: string, value: T): void {
  const known = into.get(key);
  if (known === undefined) into.set(key, [value]);
  else known.push(value);
}
