import { create } from '@bufbuild/protobuf';
import {
  type Operation,
  type Operation_AgentCount,
  Operation_State,
  OperationSchema,
  OperationSpecSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  type OperationRecord,
  OperationRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { NewEvent } from '../../monitoring/events.ts';
import { operationOf } from './operation-record.ts';

/** A copy of a record whose operation can be changed without touching the original. */
export function copyOperation(record: OperationRecord): { record: OperationRecord; operation: Operation } {
  const copy = Object.assign(create(OperationRecordSchema), record);
  const operation = Object.assign(create(OperationSchema), operationOf(record));
  copy.operation = operation;
  return { record: copy, operation };
}

/** An operation as callers see it. */
export function publicOperation(options: {
  namespace: string;
  id: string;
  record: OperationRecord;
  revision: bigint;
  /** Of one that has not ended. */
  counts: Operation_AgentCount[] | undefined;
}): Operation {
  const { namespace, id, record, revision, counts } = options;
  const operation = Object.assign(create(OperationSchema), operationOf(record), { namespace, id, revision });
  if (counts !== undefined) operation.counts = counts;
  return operation;
}

/** What is kept of a spec: whom it names stands apart. */
export const keptSpec = (spec: Operation['spec']) =>
  Object.assign(create(OperationSpecSchema), spec, { agentIds: [] });

const WARNINGS = new Set(['operation.stopped', 'operation.cancelled']);

/** What happens to an operation. */
export function operationEvent(options: {
  /** "operation.<…>", as in docs/events.md. */
  type: string;
  id: string;
  operation: Operation;
  message: string;
  actor: string;
  attributes?: Record<string, string>;
}): NewEvent {
  const { type, id, operation, message, actor, attributes } = options;
  const withErrors = operation.state === Operation_State.COMPLETED_WITH_ERRORS;
  return {
    type,
    severity: WARNINGS.has(type) || withErrors ? Event_Severity.WARNING : Event_Severity.INFO,
    message: message.slice(0, 2000),
    actor,
    attributes: { operation: id, command: operation.spec?.command ?? '', ...attributes },
  };
}
