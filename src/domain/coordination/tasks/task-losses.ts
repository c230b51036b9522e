import type { Append, Check } from '../../../state/store.ts';
import type { Loss, LossEffects, LossHook } from '../../agent/care/loss-hook.ts';
import { agentOf } from '../../agent/record.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import { draftOf } from './task-draft.ts';
import { taskEvent } from './task-events.ts';
import { encodeTask, isPresent, taskKey } from './task-record.ts';
import { loseAgent } from './task-rules.ts';
import type { TaskView } from './task-view.ts';

export interface TaskLossesOptions {
  tasks: TaskView;
  events: EventWriter;
  /** Of tasks that say nothing of it. */
  maxAttempts: number;
}

/** Tasks that one commit changes. */
const MAX_CHANGED = 128;

/** What the loss of an agent means for its tasks: they go to others, or wait for it, as each of them wants it. */
export class TaskLosses implements LossHook {
  readonly name = 'tasks of lost agents';
  readonly #options: TaskLossesOptions;

  constructor(options: TaskLossesOptions) {
    this.#options = options;
  }

  async effects({ namespace, known: agent, storeMs }: Loss): Promise<LossEffects> {
    const { tasks, events, maxAttempts } = this.#options;
    const checks: Check[] = [];
    const puts: { key: string; value: Uint8Array }[] = [];
    const deletes: string[] = [];
    const appends: Append[] = [];
    let count = 0;
    let more = false;
    const detail = lossWords(agent.id, agentOf(agent.record).verdict?.detail ?? '');
    for (const id of tasks.on(namespace, agent.id)) {
      const known = tasks.get(namespace, id);
      const live = known?.record.live.find((each) => each.agentId === agent.id && isPresent(each));
      if (known === undefined || live === undefined) continue;
      if (count === MAX_CHANGED) {
        more = true;
        break;
      }
      const draft = draftOf(known);
      loseAgent(draft, live.number, { storeMs, detail, maxAttempts, mayReturn: true });
      const event = taskEvent(known.record, draft.record, 'rule:agent_lost');
      if (event !== undefined) appends.push(events.append(event));
      checks.push({ key: taskKey(id), revision: known.revision });
      puts.push({ key: taskKey(id), value: encodeTask(draft.record) });
      deletes.push(...draft.withdrawn);
      count += 1;
    }
    if (count === 0) return {};
    return { checks, puts, deletes, appends, summary: `${count} tasks taken from it`, more };
  }
}

const lossWords = (agentId: string, verdict: string): string =>
  `agent ${agentId} was lost${verdict === '' ? '' : ` (${verdict})`}`;
