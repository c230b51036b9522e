import type {
  Amount,
  OperationSpec,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { formatDuration } from './time.ts';

/** "waves of 10%, 5 in flight, at most 3 errors, 5m00s for each agent". */
export function amountWords(spec: OperationSpec): string {
  const { wave, maxInFlight, maxErrors, agentTimeout, minHealth } = spec;
  const parts = [
    wave === undefined ? 'all at once' : `waves of ${amount(wave)}`,
    ...(maxInFlight === undefined ? [] : [`${amount(maxInFlight)} in flight`]),
    errors(maxErrors),
    `${agentTimeout === undefined ? '5m00s' : formatDuration(agentTimeout)} for each agent`,
    ...(minHealth === 0 ? [] : [`mean health at least ${minHealth}`]),
  ];
  return parts.join(', ');
}

const errors = (limit: Amount | undefined): string =>
  limit === undefined || limit.amount.value === 0
    ? 'stops at the first that fails'
    : `stops when more than ${amount(limit)} fail`;

const amount = ({ amount: { case: which, value } }: Amount): string =>
  which === 'percent' ? `${value}%` : `${value ?? '?'}`;
