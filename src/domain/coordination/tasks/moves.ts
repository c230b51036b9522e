import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Check } from '../../../state/store.ts';
import type { Ledger } from '../../resource/ledger.ts';
import type { GrantStore } from './grant-store.ts';
import type { Grants } from './grants.ts';
import { itemOfTask } from './items.ts';
import type { SchedulerPorts } from './scheduler-ports.ts';
import { clearMove, draftOf } from './task-draft.ts';
import { encodeTask, isPresent, type KnownTask, taskKey, taskOf } from './task-record.ts';

export interface MovesOptions extends Pick<SchedulerPorts, 'tasks' | 'storeTime' | 'events'> {
  namespace: string;
  ledger: Ledger;
  grants: Grants;
  store: GrantStore;
}

/** Tasks that are to be moved: each gets a second attempt where it is wanted, and the first ends once the second runs. */
export class Moves {
  readonly #options: MovesOptions;
  readonly #ids = new Set<string>();

  constructor(options: MovesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#ids.size;
  }

  /** @returns whether it is to be moved */
  changed({ id, record }: KnownTask): boolean {
    const wanted = record.moveToAgentId !== '' && record.live.length === 1;
    if (wanted) this.#ids.add(id);
    else this.#ids.delete(id);
    return wanted;
  }

  run(fence: Check): void {
    const { tasks, ledger, namespace, storeTime, grants, store } = this.#options;
    for (const id of this.#ids) {
      const key = moveKey(id);
      if (store.isUnderway(key)) continue;
      this.#ids.delete(id);
      const known = tasks.get(namespace, id);
      const [live] = known?.record.live ?? [];
      if (known === undefined || live === undefined || !isPresent(live) || !this.changed(known)) continue;
      this.#ids.delete(id);
      const target = known.record.moveToAgentId;
      const item = { ...itemOfTask(known, 0), key };
      const wanted = ledger.pool.classOf(item.want);
      const fits = target !== live.agentId && ledger.pool.fits(wanted, target);
      ledger.pool.release(wanted);
      const hit = ledger.accounts.admits({ ...item.hold, budgets: {} }, storeTime.ms());
      const choice = { agentId: target, score: 1, fitting: 1, eligible: 1 };
      const grant =
        fits && hit === undefined ? grants.toTask(known, draftOf(known), item, choice, fence) : undefined;
      if (grant === undefined) this.#drop(known, `agent ${target} has no room for it now`);
      else store.store(key, grant, () => this.#again(id));
    }
  }

  #again(id: string): void {
    const known = this.#options.tasks.get(this.#options.namespace, id);
    if (known !== undefined) this.changed(known);
  }

  #drop(known: KnownTask, why: string): void {
    const { events, store } = this.#options;
    const { id, record } = known;
    const draft = draftOf(known);
    clearMove(draft.record);
    const { agentId } = taskOf(record);
    const event = events.append({
      type: 'task.move_failed',
      severity: Event_Severity.WARNING,
      message: `task ${id} stays on ${agentId}: ${why}`,
      actor: record.moveActor || 'rule:scheduler',
      agentId,
      attributes: { task_id: id, to_agent_id: record.moveToAgentId },
    });
    const key = taskKey(id);
    const part = {
      checks: [{ key, revision: known.revision }],
      puts: [{ key, value: encodeTask(draft.record) }],
      appends: [event],
    };
    store.store(moveKey(id), { part, undo: () => {} }, () => this.#again(id));
  }
}

const moveKey = (id: string): string => `move/${id}`;
