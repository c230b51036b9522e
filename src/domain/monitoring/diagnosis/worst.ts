import {
  type Finding,
  Finding_Severity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';

/** How bad it is: what could not be looked at may be anything, and comes before what is good to know. */
export const rank = (severity: Finding_Severity): number => {
  if (severity === Finding_Severity.UNKNOWN) return Finding_Severity.INFO + 0.5;
  return severity;
};

export function worst(findings: readonly Pick<Finding, 'severity'>[]): Finding_Severity {
  let found: Finding_Severity = Finding_Severity.OK;
  for (const { severity } of findings) if (rank(severity) > rank(found)) found = severity;
  return found;
}
