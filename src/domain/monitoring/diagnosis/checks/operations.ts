import { Operation_State } from '../../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromTimestamp } from '../../../../lib/proto-time.ts';
import { isOut, operationOf } from '../../../coordination/operations/operation-record.ts';
import type { KnownOperation, OperationView } from '../../../coordination/operations/operation-view.ts';
import type { Check, Found } from '../check.ts';
import { count, time } from '../words.ts';

export interface OperationsOptions {
  operations: Pick<OperationView, 'underway'>;
  storeMs(): number;
}

/** An agent that is this much over its time should have been written off. */
const OVERDUE_MS = 60_000;

/** Whether operations that are under way get on. */
export function reviewOperations({ operations, storeMs }: OperationsOptions): Check {
  return {
    id: 'system_coordination.review_operations',
    step: 1,
    async run({ namespaces }) {
      const found: Found[] = [];
      let underway = 0;
      for (const namespace of namespaces) {
        for (const known of operations.underway(namespace)) {
          underway += 1;
          found.push(...judge(known, storeMs()));
        }
      }
      return { found, well: `${count(underway, 'operation')} under way, none stopped or stuck.` };
    },
  };
}

function judge(known: KnownOperation, storeMs: number): Found[] {
  const { namespace, id, record } = known;
  const { state, detail, wave, waves, startTime } = operationOf(record);
  const since = startTime === undefined ? 'unknown' : `${time(storeMs - msFromTimestamp(startTime))} ago`;
  const where = { namespace, subjects: [id] };
  const evidence = [`wave ${wave} of ${waves}`, `started ${since}`, ...(detail === '' ? [] : [detail])];
  switch (state) {
    case Operation_State.STOPPED:
      return [
        {
          ...where,
          code: 'operation_stopped',
          severity: Finding_Severity.WARNING,
          summary: `Operation ${id} has stopped itself.`,
          evidence,
          advice: `See which agents failed: orchestrator operations show ${id}; then orchestrator operations resume or cancel.`,
        },
      ];
    case Operation_State.PAUSED:
      return [
        {
          ...where,
          code: 'operation_paused',
          severity: Finding_Severity.INFO,
          summary: `Operation ${id} is paused.`,
          evidence,
          advice: `orchestrator operations resume ${id}`,
        },
      ];
    default:
      return overdue(known, storeMs, evidence);
  }
}

function overdue({ namespace, id, outcomes }: KnownOperation, storeMs: number, evidence: string[]): Found[] {
  const late = [...outcomes.values()].flatMap(({ record: { outcome, deadlineMs } }) => {
    const ms = Number(deadlineMs);
    return outcome === undefined || !isOut(outcome.state) || ms === 0 || storeMs - ms < OVERDUE_MS
      ? []
      : [outcome.agentId];
  });
  if (late.length === 0) return [];
  return [
    {
      code: 'operation_stuck',
      severity: Finding_Severity.WARNING,
      summary: `Operation ${id} does not get on: the time of ${count(late.length, 'agent')} is over, and nobody has taken note.`,
      evidence,
      advice:
        'See who holds the lease care of the namespace (orchestrator doctor --check system_coordination.monitor_stability).',
      namespace,
      subjects: late,
    },
  ];
}
