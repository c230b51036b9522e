import { create } from '@bufbuild/protobuf';
import { Restart_State, RestartSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  AgentOutcome_State,
  AgentOutcomeSchema,
  Operation_State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import {
  type OperationAgentRecord,
  OperationAgentRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Check, Commit } from '../../../state/store.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { agentKey, agentOf, copyRecord, encodeRecord } from '../../agent/record.ts';
import { mailKey } from '../delivery-record.ts';
import type { KnownDelivery, Mailboxes } from '../mailboxes.ts';
import { isOrdered, type Judgement, judge } from './agent-rules.ts';
import { answerKey, encodeOutcome, isOut, operationOf, outcomeKey, stateOf } from './operation-record.ts';
import type { KnownOperation, KnownOutcome } from './operation-view.ts';

/** What a commit has to hold so that the news of one agent are stored. */
export interface Settlement {
  checks: Check[];
  puts: NonNullable<Commit['puts']>;
  deletes: string[];
}

interface Sources {
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  storeMs: number;
}

/** The agents whose command is out and of which there is news. */
export function* settlements(operation: KnownOperation, sources: Sources): Generator<Settlement> {
  const { record, outcomes } = operation;
  for (const [place, known] of outcomes) {
    if (!isOut(stateOf(record, known.record))) continue;
    const settlement = settlementOf(operation, place, known, sources);
    if (settlement !== undefined) yield settlement;
  }
}

function settlementOf(
  { namespace, id, record, answers }: KnownOperation,
  place: number,
  { record: outcome, revision }: KnownOutcome,
  { directory, mailboxes, storeMs }: Sources,
): Settlement | undefined {
  const { agentId = '', deliveryId = '', tries = 0 } = outcome.outcome ?? {};
  const operation = operationOf(record);
  const command = operation.spec?.command ?? '';
  const agent = directory.get(namespace, agentId);
  const delivery =
    outcome.mailboxAgentId === '' ? undefined : mailboxes.get(namespace, outcome.mailboxAgentId, deliveryId);
  const found = answers.get(place);
  const answer = found?.tries === tries ? found.record : undefined;
  const judged =
    judge({ command, outcome, agent, delivery, answer, storeMs }) ??
    (operation.state === Operation_State.CANCELLED ? takenBack(command, delivery, answer) : undefined);
  if (judged === undefined) return undefined;
  const key = outcomeKey(id, place);
  const settlement: Settlement = {
    checks: [{ key, revision }],
    puts: [{ key, value: encodeOutcome(changed(outcome, judged, record.round, storeMs)) }],
    // Also one of an earlier try, which nobody waits for.
    deletes: found === undefined ? [] : [answerKey(id, place, found.tries)],
  };
  if (judged.takeBack === true && delivery !== undefined) {
    const mail = mailKey(delivery.agentId, delivery.id);
    settlement.checks.push({ key: mail, revision: delivery.revision });
    settlement.deletes.push(mail);
    if (command === 'restart' && agent !== undefined) voidRestart(settlement, agent, delivery.id, storeMs);
  }
  return settlement;
}

/** Of a cancelled operation: what nobody has taken on. A phase that was ordered stands. */
function takenBack(
  command: string,
  delivery: KnownDelivery | undefined,
  answer: unknown,
): Judgement | undefined {
  if (isOrdered(command) && command !== 'restart') return undefined;
  if (delivery === undefined || delivery.record.accepted || answer !== undefined) return undefined;
  return { state: AgentOutcome_State.CANCELLED, verified: false, error: 'taken back', takeBack: true };
}

/** The restart that the agent's record shows is not under way any more. */
function voidRestart(settlement: Settlement, known: KnownAgent, deliveryId: string, storeMs: number): void {
  const record = copyRecord(known.record);
  const agent = agentOf(record);
  if (agent.restart?.deliveryId !== deliveryId || agent.restart.state !== Restart_State.ORDERED) return;
  agent.restart = Object.assign(create(RestartSchema), agent.restart, {
    state: Restart_State.FAILED,
    error: 'the operation was cancelled',
    updateTime: timestampFromMs(storeMs),
  });
  settlement.checks.push({ key: agentKey(known.id), revision: known.revision });
  settlement.puts = [...settlement.puts, { key: agentKey(known.id), value: encodeRecord(record) }];
}

function changed(
  before: OperationAgentRecord,
  { state, verified, error, output, outputTruncated }: Judgement,
  round: number,
  storeMs: number,
): OperationAgentRecord {
  const outcome = Object.assign(create(AgentOutcomeSchema), before.outcome, {
    ...{ state, verified, error },
    updateTime: timestampFromMs(storeMs),
    outputTruncated: outputTruncated ?? false,
  });
  if (output !== undefined) outcome.output = output;
  return Object.assign(create(OperationAgentRecordSchema), before, { outcome, round });
}
