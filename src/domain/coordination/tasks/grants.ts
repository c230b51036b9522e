import type { Part } from '../../../state/merged-commits.ts';
import type { Check } from '../../../state/store.ts';
import type { KnownAgent } from '../../agent/directory.ts';
import { agentKey, agentOf } from '../../agent/record.ts';
import {
  allocationKey,
  encodeAllocation,
  type KnownAllocation,
} from '../../resource/allocations/allocation-record.ts';
import { granted } from '../../resource/allocations/allocation-rules.ts';
import { bigintsOf } from '../../resource/amounts.ts';
import type { Ledger } from '../../resource/ledger.ts';
import type { Choice } from '../../resource/pool/types.ts';
import { sessionOf } from '../messages/fan-out.ts';
import { attemptDelivery } from './attempt-delivery.ts';
import { budgetsOfParent, freeBudgets, missingBudget } from './budgets.ts';
import type { FairShare } from './fair-share.ts';
import type { SchedulerPorts } from './scheduler-ports.ts';
import type { Draft } from './task-draft.ts';
import { copyTask, encodeTask, type KnownTask, specOf, sum, taskKey, taskOf } from './task-record.ts';
import { assign } from './task-rules.ts';
import type { Item } from './waiting.ts';

/** What placing something would store. */
export interface Grant {
  part: Part;
  /** Takes back what is reserved for it in memory, if it was not stored. */
  undo(): void;
  /** It was stored: called once, where whoever asks for it stores it. */
  stored?(): void;
}

export interface GrantsOptions
  extends Pick<
    SchedulerPorts,
    'store' | 'storeTime' | 'directory' | 'mailboxes' | 'tasks' | 'config' | 'metrics'
  > {
  namespace: string;
  ledger: Ledger;
  shares: FairShare;
}

/** Makes the commits that give something its place, and reserves that in memory until they are stored. */
export class Grants {
  readonly #options: GrantsOptions;

  constructor(options: GrantsOptions) {
    this.#options = options;
  }

  /**
   * Undefined: the agent cannot have it after all.
   * @param draft what becomes of the task, which may be one that is not stored yet
   */
  toTask(known: KnownTask, draft: Draft, item: Item, choice: Choice, fence: Check): Grant | undefined {
    const { ledger, directory, storeTime, store, tasks, config, namespace, mailboxes } = this.#options;
    const agent = directory.get(namespace, choice.agentId);
    if (agent === undefined || mailboxes.count(namespace, agent.id) >= config.maxMailbox) return undefined;
    const { record } = draft;
    const parentPart = this.#parentPart(known);
    if (parentPart === undefined) return undefined;
    const storeMs = storeTime.ms();
    const number = assign(draft, {
      agentId: agent.id,
      agentUid: agentOf(agent.record).uid,
      resources: bigintsOf(item.want.resources),
      placement: placementWords(choice),
      storeMs,
    });
    const live = record.live.find((each) => each.number === number);
    if (live === undefined) throw new Error('an attempt that was just assigned is not there');
    const storeEpoch = store.status().epoch;
    const part: Part = {
      epoch: storeEpoch,
      checks: [
        ...this.#checks(fence, agent, item.owner),
        { key: taskKey(known.id), revision: known.revision },
        ...parentPart.checks,
      ],
      puts: [
        { key: taskKey(known.id), value: encodeTask(record) },
        attemptDelivery({
          ...{ record, live, storeMs, storeEpoch },
          sessionEpoch: sessionOf(directory, namespace, agent.id),
          acceptWithinMs: config.acceptWithinMs,
        }),
        ...parentPart.puts,
      ],
    };
    const undo = this.#reserve(item, ledger.holdAttempt(known.id, number, item, agent.id));
    const stored = (): void => this.#options.metrics.taskAssigned(Math.max(0, storeMs - item.sinceMs));
    return {
      part,
      stored,
      undo: () => {
        // The view may show it all the same.
        const present = tasks.get(namespace, known.id);
        if (present === undefined || taskOf(present.record).attemptCount < number) undo();
        else stored();
      },
    };
  }

  /** @param choice undefined: it takes nothing of an agent */
  toAllocation(
    known: KnownAllocation,
    item: Item,
    choice: Choice | undefined,
    fence: Check,
  ): Grant | undefined {
    const { ledger, directory, storeTime, store, namespace } = this.#options;
    const agent = choice && directory.get(namespace, choice.agentId);
    if (choice !== undefined && agent === undefined) return undefined;
    const key = allocationKey(item.id);
    const whom = { id: agent?.id ?? '', uid: agent === undefined ? '' : agentOf(agent.record).uid };
    return {
      part: {
        epoch: store.status().epoch,
        checks: [...this.#checks(fence, agent, item.owner), { key, revision: known.revision }],
        puts: [{ key, value: encodeAllocation(granted(known.record, whom, storeTime.ms())) }],
      },
      undo: this.#reserve(item, ledger.holdAllocation(item, whom.id)),
    };
  }

  #checks(fence: Check, agent: KnownAgent | undefined, owner: string): Check[] {
    const ofAgent = agent === undefined ? [] : [{ key: agentKey(agent.id), revision: agent.revision }];
    return [fence, ...ofAgent, ...this.#options.ledger.accounts.checks(owner)];
  }

  #reserve(item: Item, free: () => void): () => void {
    const { ledger, shares } = this.#options;
    const weight = ledger.accounts.weight(item.owner);
    shares.charge(item.owner, 1, weight);
    return () => {
      free();
      shares.refund(item.owner, 1, weight);
    };
  }

  /** What a child's first assignment takes of its parent; undefined: that does not have it. */
  #parentPart({ record }: KnownTask): { checks: Check[]; puts: NonNullable<Part['puts']> } | undefined {
    const { tasks, namespace } = this.#options;
    const wanted = budgetsOfParent(record);
    if (wanted === undefined) return { checks: [], puts: [] };
    const parent = tasks.get(namespace, specOf(record).parentTaskId);
    if (parent === undefined || missingBudget(freeBudgets(parent.record), wanted) !== undefined)
      return undefined;
    const next = copyTask(parent);
    next.childrenHeld = sum(next.childrenHeld, wanted);
    const key = taskKey(parent.id);
    return { checks: [{ key, revision: parent.revision }], puts: [{ key, value: encodeTask(next) }] };
  }
}

const placementWords = ({ fitting, eligible, score }: Choice): string =>
  `best of ${fitting} that fit, of ${eligible} that could have it; score ${score.toFixed(3)}`;
