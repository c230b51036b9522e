import {
  type DeliveryUpdate,
  DeliveryUpdate_State,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { DomainError } from '../../lib/errors.ts';
import type { Check, Commit, Store } from '../../state/store.ts';
import type { KnownAgent } from '../agent/directory.ts';
import { loadAgent } from '../agent/load.ts';
import { agentKey } from '../agent/record.ts';
import type { EventWriter, NewEvent } from '../monitoring/events.ts';
import { encodeDelivery, mailKey, putDeadLetter } from './delivery-record.ts';
import { type Outcome, rewritten } from './delivery-rules.ts';
import type { KnownDelivery } from './mailboxes.ts';
import { ofOperation } from './operations/answers.ts';
import { commandEvent, type OutcomeInput, type OutcomeRule, type OutcomeState } from './outcomes.ts';
import type { TaskOutcomes } from './tasks/task-outcomes.ts';

export interface OutcomeCommitsOptions {
  store: Store;
  events: EventWriter;
  /** What outcomes mean beyond their delivery, by type of command. */
  outcomeRules: ReadonlyMap<string, OutcomeRule>;
  /** The same for messages. */
  messageRule: OutcomeRule;
  /** The same for tasks, which must be asked for. */
  tasks: Pick<TaskOutcomes, 'effects'>;
}

/** What is stored of an outcome. */
export interface OutcomeCommit extends Commit {
  /** What the agent hears once it is. */
  refusal?: DomainError;
}

/** How long the outcome of an attempt is remembered: an agent whose answer was lost says it again. */
const REMEMBERED_MS = 3_600_000;

/** Makes the commits that store what became of deliveries, with all that follows from it. */
export class OutcomeCommits {
  readonly #options: OutcomeCommitsOptions;

  constructor(options: OutcomeCommitsOptions) {
    this.#options = options;
  }

  /** Checks on the delivery and on the agents concerned are in it. */
  async commit(options: {
    known: KnownDelivery;
    outcome: Outcome;
    input: OutcomeInput;
    requestId: string | undefined;
    /** What the views said before was out of date. */
    again?: boolean;
  }): Promise<OutcomeCommit> {
    const { known, outcome, requestId, again = false } = options;
    const { namespace } = known;
    const key = mailKey(known.agentId, known.id);
    const checks: Check[] = [{ key, revision: known.revision }];
    const rule = this.#ruleOf(known);
    const subject = await this.#subjectOf(known, options.input.agent, rule !== undefined);
    const input = { ...options.input, subject };
    for (const agent of new Set([input.agent, subject])) {
      if (agent !== undefined) checks.push({ key: agentKey(agent.id), revision: agent.revision });
    }
    const isTask = known.record.item.case === 'task';
    const ofTask = isTask ? await this.#options.tasks.effects(input, again) : undefined;
    const effects = ofTask ?? rule?.(input) ?? {};
    checks.push(...(ofTask?.checks ?? []));
    const event = commandEvent(input);
    const events: NewEvent[] = [...(event === undefined ? [] : [event]), ...(effects.events ?? [])];
    const puts = [...(effects.puts ?? [])];
    const deletes = [...(effects.deletes ?? [])];
    const refusal = ofTask?.refusal;
    if (refusal !== undefined) {
      // The delivery stays as it is, or goes with its task.
    } else if (outcome.kind === 'over') {
      deletes.push(key);
      if (outcome.dead !== undefined && options.input.update !== undefined) {
        const answer = outcome.state === 'declined' ? 'declined' : 'failed';
        const { error } = options.input.update;
        puts.push(putDeadLetter(rewritten(known), outcome.dead, error, input.storeMs, answer));
      }
    } else {
      puts.push({ key, value: encodeDelivery(outcome.record) });
    }
    const mark = Uint8Array.of(1);
    const request =
      requestId === undefined || outcome.kind !== 'over'
        ? {}
        : { request: { id: requestId, fingerprint: mark, response: mark, ttlMs: REMEMBERED_MS } };
    // The event of the commit that put it there comes first in it.
    const causeId = `${known.createdRevision}-0`;
    const appends = events.map((each) => this.#options.events.append({ causeId, ...each }));
    const commit = { namespace, checks, puts, deletes, appends, ...request };
    return refusal === undefined ? commit : { ...commit, refusal };
  }

  #ruleOf({ record: { item } }: KnownDelivery): OutcomeRule | undefined {
    if (item.case === 'command') {
      const rule = this.#options.outcomeRules.get(item.value.type);
      return item.value.operationId === '' ? rule : ofOperation(rule);
    }
    return item.case === 'message' ? this.#options.messageRule : undefined;
  }

  async #subjectOf(known: KnownDelivery, agent: KnownAgent | undefined, asked: boolean) {
    const id = known.record.subjectAgentId;
    if (id === '' || id === known.agentId) return agent;
    return asked ? loadAgent(this.#options.store, known.namespace, id) : undefined;
  }
}

/** What an update made of a delivery, in a word. */
export function stateOf(outcome: Outcome, update: DeliveryUpdate): OutcomeState {
  if (outcome.kind === 'accepted') return 'accepted';
  if (outcome.kind === 'over') return outcome.state;
  return update.state === DeliveryUpdate_State.DECLINED ? 'declined' : 'failed';
}
