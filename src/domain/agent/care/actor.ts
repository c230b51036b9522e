import type { DeliveriesConfig, FailuresConfig } from '../../../config/config.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Ids } from '../../../lib/ids.ts';
import type { Append, Check, Store } from '../../../state/store.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import type { KnownAgent } from '../directory.ts';
import { observerEvidence, type SelfWatch } from '../observer.ts';
import { agentKey, agentOf, copyRecord, encodeRecord } from '../record.ts';
import { FREEZE_KEY, NOT_FROZEN } from './care-records.ts';
import { apply, type Change, type ChangeContext } from './changes.ts';
import type { LossHook } from './loss-hook.ts';
import { askHooks, type HookEffects, handleLoss } from './losses.ts';
import type { Need } from './needs.ts';
import type { Notices } from './notices.ts';
import { policyOf } from './policy.ts';
import type { Troubles } from './troubles.ts';

export interface ActorOptions {
  store: Store;
  events: EventWriter;
  clock: Clock;
  ids: Ids;
  self: SelfWatch;
  troubles: Troubles;
  notices: Notices;
  replicaId: string;
  failures: FailuresConfig;
  deliveries: DeliveriesConfig;
  hooks: readonly LossHook[];
  /** Whether an agent can be given an order that takes the place of those. */
  hasRoomForOrder(known: KnownAgent): boolean;
  /** Keys of unfinished orders to an agent, of which a newer one takes the place. */
  pendingOrders(known: KnownAgent): readonly string[];
  /** Keys of what goes with a deregistered agent, besides its record. */
  removal(namespace: string, agentId: string): readonly string[];
}

export type Acted =
  | 'done'
  /** The agent, or something of it, changed meanwhile: it is looked at again. */
  | 'changed'
  /** The lease is with somebody else. */
  | 'refused'
  | 'frozen';

/** Tries of one commit whose hooks' checks fail. */
const ATTEMPTS = 4;

/** Does what is due about one agent: in one commit that fails when the lease, the freeze or the agent changed meanwhile. */
export class Actor {
  readonly #options: ActorOptions;

  constructor(options: ActorOptions) {
    this.#options = options;
  }

  async act(known: KnownAgent, needs: readonly Need[], fence: Check, storeMs: number): Promise<Acted> {
    const told = needs.find(({ kind }) => kind === 'tell_lost' || kind === 'tell_recovered');
    if (told !== undefined) {
      const what = told.kind === 'tell_lost' ? 'lost' : 'recovered';
      const guards = [fence, NOT_FROZEN];
      const failed = await this.#options.notices.tell(known, what, guards, storeMs);
      // Its record has moved on: what else is due follows when that is heard of.
      return failed === undefined ? 'done' : meaning(failed, fence);
    }
    for (let attempt = 0; ; attempt += 1) {
      const failed = await this.#try(known, needs, fence, storeMs);
      if (failed === undefined) return 'done';
      const acted = meaning(failed, fence);
      if (acted !== 'changed' || failed === agentKey(known.id) || attempt === ATTEMPTS) return acted;
    }
  }

  /** @returns the key whose check failed */
  async #try(
    known: KnownAgent,
    needs: readonly Need[],
    fence: Check,
    storeMs: number,
  ): Promise<string | undefined> {
    const { store, events, failures, hooks } = this.#options;
    const { namespace, id } = known;
    const policy = policyOf(agentOf(known.record).spec, failures);
    const context = this.#context(known, policy, storeMs);
    const change: Change = {
      record: copyRecord(known.record),
      puts: [],
      deletes: [],
      events: [],
      removed: false,
    };
    let hooked: HookEffects | undefined;
    for (const need of needs) {
      if (need.kind === 'handle_loss') {
        hooked = await askHooks(policy.onLoss === 'keep' ? [] : hooks, known, storeMs);
        handleLoss(change, hooked, context);
      } else {
        apply(change, need, context);
      }
    }
    const appends: Append[] = change.events.map((event) => events.append(event));
    const puts = [...change.puts, ...(hooked?.puts ?? [])];
    if (!change.removed) puts.push({ key: agentKey(id), value: encodeRecord(change.record) });
    const outcome = await store.commit({
      namespace,
      checks: [fence, NOT_FROZEN, { key: agentKey(id), revision: known.revision }, ...(hooked?.checks ?? [])],
      puts,
      deletes: [...change.deletes, ...(hooked?.deletes ?? [])],
      appends: [...appends, ...(hooked?.appends ?? [])],
    });
    return outcome.kind === 'conflict' ? outcome.key : undefined;
  }

  #context(known: KnownAgent, policy: ChangeContext['policy'], storeMs: number): ChangeContext {
    const { clock, ids, self, troubles, replicaId, deliveries, hasRoomForOrder, pendingOrders, removal } =
      this.#options;
    const { namespace } = known;
    const nowMs = clock.monoMs();
    return {
      policy,
      deliveries,
      storeMs,
      wallMs: clock.wallMs(),
      replicaId,
      random: ids.random(),
      observer: observerEvidence(self, nowMs, nowMs, troubles.evidence(namespace, known.id)),
      hasRoomForOrder: () => hasRoomForOrder(known),
      pendingOrders: () => pendingOrders(known),
      removal: (agentId) => removal(namespace, agentId),
    };
  }
}

function meaning(failedKey: string, fence: Check): Acted {
  if (failedKey === fence.key) return 'refused';
  return failedKey === FREEZE_KEY ? 'frozen' : 'changed';
}
