import { create } from '@bufbuild/protobuf';
import { Agent_Liveness, Agent_Phase } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AlertSeverity } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type GetSystemStatusRequest,
  GetSystemStatusRequestSchema,
  ServiceStatus_State,
  type SystemStatus,
  SystemStatus_State,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { FieldViolation } from '../lib/errors.ts';
import { msFromDuration, msFromTimestamp } from '../lib/proto-time.ts';
import { connectErrorJson } from '../rpc/connect-errors.ts';
import type { NodeRequest } from '../rpc/connect-response.ts';
import { describeRefusal } from '../rpc/errors.ts';
import { invalidFields } from '../rpc/interceptors/validation.ts';
import { statusBadge } from './status-badge.ts';
import type { Page } from './write-page.ts';

/** How the status is read for those who are no clients of the API. */
export interface StatusPages {
  validate(request: GetSystemStatusRequest): readonly FieldViolation[];
  /** @param namespace only its agents and alerts; empty: those of all */
  read(namespace: string): SystemStatus;
}

const json = 'application/json; charset=utf-8';
/** A picture is looked at by many; so long caches may show it again. */
const BADGE_SECONDS = 10;
const BADGE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox";

/** GET /status: the status as JSON with plain names, for monitors of others and status pages. */
export function statusPage(pages: StatusPages): (request: NodeRequest) => Page {
  return (request) =>
    withNamespace(pages, request, (namespace) => ({
      status: 200,
      contentType: json,
      body: `${JSON.stringify(statusJson(pages.read(namespace), namespace))}\n`,
    }));
}

/** GET /status.svg: the state in a word, for pages of others. */
export function statusBadgePage(pages: StatusPages): (request: NodeRequest) => Page {
  return (request) =>
    withNamespace(pages, request, (namespace) => ({
      status: 200,
      contentType: 'image/svg+xml; charset=utf-8',
      body: statusBadge(pages.read(namespace), namespace),
      headers: {
        'cache-control': `public, max-age=${BADGE_SECONDS}`,
        'content-security-policy': BADGE_POLICY,
      },
    }));
}

function withNamespace(pages: StatusPages, request: NodeRequest, answer: (namespace: string) => Page): Page {
  const [, query = ''] = (request.url ?? '').split('?', 2);
  const given = new URLSearchParams(query).getAll('namespace');
  const namespace = given[0] ?? '';
  const violations =
    given.length > 1
      ? [{ field: 'namespace', description: 'is given twice' }]
      : pages.validate(create(GetSystemStatusRequestSchema, { namespace }));
  if (violations.length === 0) return answer(namespace);
  const { reason, message } = invalidFields(violations);
  const error = describeRefusal({ reason, message, violations: [...violations] });
  const headers = { 'error-reason': error.reason };
  return { status: 400, contentType: 'application/json', body: connectErrorJson(error), headers };
}

/** Names of enums as people write them: "critical". */
const word = (values: Readonly<Record<string, number>>, value: number): string =>
  (Object.keys(values).find((name) => values[name] === value) ?? 'unspecified').toLowerCase();
const ms = (duration: Parameters<typeof msFromDuration>[0] | undefined): number | undefined =>
  duration === undefined ? undefined : Math.round(msFromDuration(duration) * 1000) / 1000;
const time = (timestamp: Parameters<typeof msFromTimestamp>[0] | undefined): string | undefined =>
  timestamp === undefined ? undefined : new Date(msFromTimestamp(timestamp)).toISOString();

function statusJson(status: SystemStatus, namespace: string) {
  const { fleet, store } = status;
  return {
    state: word(SystemStatus_State, status.state),
    reasons: status.reasons,
    time: time(status.time),
    ...(namespace === '' ? {} : { namespace }),
    orchestrator: {
      id: status.orchestratorId,
      name: status.orchestratorName,
      version: status.version,
      capabilities: status.capabilities,
    },
    agents: {
      total: fleet?.agents ?? 0,
      by_liveness: Object.fromEntries(
        (fleet?.byLiveness ?? []).map(({ liveness, count }) => [word(Agent_Liveness, liveness), count]),
      ),
      by_phase: Object.fromEntries(
        (fleet?.byPhase ?? []).map(({ phase, count }) => [word(Agent_Phase, phase), count]),
      ),
    },
    figures: status.readings.map(({ metric, resource, value, age, samples }) => ({
      metric,
      ...(resource === '' ? {} : { resource }),
      value: value ?? null,
      age_ms: ms(age),
      samples,
    })),
    alerts: Object.fromEntries(
      status.alerts.map(({ severity, firing, acknowledged }) => [
        word(AlertSeverity, severity),
        { firing, acknowledged },
      ]),
    ),
    services: status.services.map((service) => ({
      name: service.name,
      state: word(ServiceStatus_State, service.state),
      detail: service.detail,
      latency_ms: ms(service.latency) ?? null,
      availability: service.availability,
      since: time(service.since),
      age_ms: ms(service.age),
    })),
    replicas: status.replicas.map((replica) => ({
      id: replica.id,
      version: replica.version,
      sessions: replica.sessions,
      draining: replica.draining,
      cpu_cores: replica.cpuCores,
      memory_bytes: Number(replica.memoryBytes),
      event_loop_delay_p99_ms: ms(replica.eventLoopDelayP99),
      age_ms: ms(replica.age),
    })),
    store: {
      kind: store?.kind,
      available: store?.available,
      durability: store?.durability,
      commit_p99_ms: ms(store?.commitP99) ?? null,
    },
    pending_deliveries: status.pendingDeliveries,
  };
}
