import { Agent_Phase } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { msFromTimestamp, timestampFromMs } from '../../lib/proto-time.ts';
import type { Store } from '../../state/store.ts';
import type { EventWriter, NewEvent } from '../monitoring/events.ts';
import type { Chore, ChoreContext } from './care/chore.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import { drainedByDeadline } from './order-rules.ts';
import { agentKey, agentOf, copyRecord, encodeRecord } from './record.ts';

export interface OrderDeadlinesOptions {
  store: Store;
  directory: AgentDirectory;
  events: EventWriter;
  wallMs: () => number;
}

/** Ends drains and stops whose deadline has passed. */
export class OrderDeadlines implements Chore {
  readonly name = 'deadlines of orders';
  readonly #options: OrderDeadlinesOptions;
  /** Agents with a deadline, as "namespace/id"; few, so that nobody has to look through all. */
  readonly #pending = new Map<string, KnownAgent>();

  constructor(options: OrderDeadlinesOptions) {
    this.#options = options;
    options.directory.listen({
      changed: (before, after) => {
        const agent = after ?? before;
        if (agent === undefined) return;
        const key = `${agent.namespace}/${agent.id}`;
        if (after !== undefined && deadlineMs(after) !== undefined) this.#pending.set(key, after);
        else this.#pending.delete(key);
      },
    });
  }

  async run({ namespace, fence, storeMs }: ChoreContext): Promise<void> {
    const { store, events } = this.#options;
    for (const known of this.#pending.values()) {
      const dueMs = deadlineMs(known);
      if (known.namespace !== namespace || dueMs === undefined || dueMs > storeMs) continue;
      const record = copyRecord(known.record);
      const event = this.#end(record, storeMs);
      await store.commit({
        namespace,
        // Should the agent have changed meanwhile, the next round looks again.
        checks: [fence, { key: agentKey(known.id), revision: known.revision }],
        puts: [{ key: agentKey(known.id), value: encodeRecord(record) }],
        appends: event === undefined ? [] : [events.append(event)],
      });
    }
  }

  #end(record: KnownAgent['record'], storeMs: number): NewEvent | undefined {
    const agent = agentOf(record);
    agent.updateTime = timestampFromMs(this.#options.wallMs());
    if (agent.phase === Agent_Phase.DRAINING) return drainedByDeadline(agent, storeMs);
    // Whoever holds its session ends it when it hears of this.
    delete record.stopDeadline;
    return undefined;
  }
}

function deadlineMs({ record }: KnownAgent): number | undefined {
  const { phase, drain } = agentOf(record);
  const time =
    phase === Agent_Phase.DRAINING
      ? drain?.deadlineTime
      : phase === Agent_Phase.STOPPED
        ? record.stopDeadline
        : undefined;
  return time === undefined ? undefined : msFromTimestamp(time);
}
