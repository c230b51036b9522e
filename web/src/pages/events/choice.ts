import {
  type Event,
  Event_Severity as Severity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';

/** What is chosen on the page of events; it stands in the address. */
export interface EventChoice {
  text: string;
  severity: Severity;
  /** The beginning of a type: "agent". */
  area: string;
  agent: string;
}

const SEVERITIES: Readonly<Record<string, Severity>> = {
  warning: Severity.WARNING,
  error: Severity.ERROR,
};

export function eventChoice(query: URLSearchParams): EventChoice {
  const area = query.get('area') ?? '';
  return {
    text: (query.get('q') ?? '').toLowerCase(),
    severity: SEVERITIES[query.get('severity') ?? ''] ?? Severity.UNSPECIFIED,
    area: /^[a-z0-9_]+$/.test(area) ? area : '',
    agent: query.get('agent') ?? '',
  };
}

/** The part of it that the service can judge. */
export function requestFilter({ severity, area, agent }: EventChoice): {
  agentIds: string[];
  types: string[];
  minSeverity: Severity;
  endTime?: { seconds: bigint; nanos: number };
} {
  return {
    agentIds: agent === '' ? [] : [agent],
    types: area === '' ? [] : [`${area}.*`],
    minSeverity: severity,
  };
}

export function matchesEvent(event: Event, { text, severity, area, agent }: EventChoice): boolean {
  if (event.severity < severity) return false;
  if (agent !== '' && event.agentId !== agent) return false;
  if (area !== '' && !event.type.startsWith(`${area}.`)) return false;
  if (text === '') return true;
  const { type, agentId, message, actor } = event;
  return `${type} ${agentId} ${message} ${actor}`.toLowerCase().includes(text);
}
