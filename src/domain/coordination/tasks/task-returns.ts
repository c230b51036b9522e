import type { Background } from '../../../lib/background.ts';
import { type Store, StoreUnavailableError } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import { loadTask } from './load-task.ts';
import { draftOf } from './task-draft.ts';
import { taskEvent } from './task-events.ts';
import { encodeTask, isPresent, taskKey } from './task-record.ts';
import { agentReturned } from './task-rules.ts';
import type { TaskView } from './task-view.ts';

export interface TaskReturnsOptions {
  store: Store;
  storeTime: StoreTime;
  tasks: TaskView;
  background: Background;
  events: EventWriter;
  /** Of tasks that say nothing of it. */
  maxAttempts: number;
}

const ATTEMPTS = 8;
/** Pauses while the store is away, and how many. */
const PAUSE_MS = 1000;
const MAX_PAUSES = 60;

/** An agent that was lost is back: its attempts that waited for it go on, or are over, as each task wants it. */
export class TaskReturns {
  readonly #options: TaskReturnsOptions;

  constructor(options: TaskReturnsOptions) {
    this.#options = options;
  }

  /** Whether an agent has tasks, lost or not. */
  concerns(namespace: string, agentId: string): boolean {
    return this.#options.tasks.on(namespace, agentId).size > 0;
  }

  /** @param held deliveries that it brought along and that are still its own. Never rejects for want of a store. */
  async returned(namespace: string, agentId: string, held: ReadonlyMap<string, bigint>): Promise<void> {
    const { tasks } = this.#options;
    for (const id of [...tasks.on(namespace, agentId)]) {
      const lost = tasks
        .get(namespace, id)
        ?.record.live.some((live) => live.agentId === agentId && !isPresent(live));
      if (lost !== true) continue;
      try {
        await this.#settle(namespace, id, agentId, held);
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
        this.#later(namespace, id, agentId, held);
      }
    }
  }

  #later(namespace: string, id: string, agentId: string, held: ReadonlyMap<string, bigint>): void {
    let pauses = 0;
    const again = (): void =>
      this.#options.background.run('settle the return of an agent', async () => {
        try {
          await this.#settle(namespace, id, agentId, held);
        } catch (error) {
          if (!(error instanceof StoreUnavailableError)) throw error;
          pauses += 1;
          if (pauses < MAX_PAUSES) setTimeout(again, PAUSE_MS).unref();
        }
      });
    setTimeout(again, PAUSE_MS).unref();
  }

  async #settle(
    namespace: string,
    id: string,
    agentId: string,
    held: ReadonlyMap<string, bigint>,
  ): Promise<void> {
    const { store, storeTime, events, maxAttempts } = this.#options;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const known = await loadTask(store, namespace, id);
      const live = known?.record.live.find((each) => each.agentId === agentId && !isPresent(each));
      if (known === undefined || live === undefined) return;
      const draft = draftOf(known);
      const withIt = held.has(live.deliveryId);
      agentReturned(draft, live.number, { withIt, storeMs: storeTime.ms(), maxAttempts });
      const event = taskEvent(known.record, draft.record, `agent:${agentId}`);
      const outcome = await store.commit({
        namespace,
        checks: [{ key: taskKey(id), revision: known.revision }],
        puts: [{ key: taskKey(id), value: encodeTask(draft.record) }],
        deletes: draft.withdrawn,
        appends: event === undefined ? [] : [events.append(event)],
      });
      if (outcome.kind !== 'conflict') return;
    }
  }
}
