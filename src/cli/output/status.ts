import {
  type FleetStatus,
  type ReplicaStatus,
  type StoreStatus,
  type SystemStatus,
  SystemStatus_State,
  SystemStatus_StateSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { livenessSpan, phaseSpan, shareTone } from './agent-cells.ts';
import { heldLines } from './brakes.ts';
import { enumName } from './names.ts';
import { monitoringFields, serviceTable } from './status-monitoring.ts';
import { renderFields, renderTable } from './table.ts';
import {
  bad,
  dim,
  good,
  type Line,
  plain,
  renderLine,
  type Span,
  type Style,
  strong,
  type Tone,
  warn,
} from './text.ts';
import { formatAgo, formatClock, formatDuration, formatMs, timestampMs } from './time.ts';

const stateTones: Partial<Record<SystemStatus_State, Tone>> = {
  [SystemStatus_State.OK]: 'good',
  [SystemStatus_State.DEGRADED]: 'warn',
  [SystemStatus_State.CRITICAL]: 'bad',
};

/** How the system is, for people. Times are counted by the clock of the replica that answered. */
export function renderStatus(status: SystemStatus, style: Style): string[] {
  const nowMs = status.time === undefined ? Date.now() : timestampMs(status.time);
  const name = status.orchestratorName === '' ? '' : ` ${status.orchestratorName}`;
  const held = heldLines(status, nowMs, status.reasons);
  const lines = [
    renderLine(
      [
        { text: enumName(SystemStatus_StateSchema, status.state), tone: stateTones[status.state] ?? 'warn' },
        plain('  '),
        strong(status.orchestratorId),
        plain(`${name} ${status.version}`),
        dim(`  as of ${formatClock(new Date(nowMs))}`),
      ],
      style,
    ),
    ...status.reasons.map((reason) => renderLine([plain('  '), warn(reason)], style)),
    ...(held.length === 0 ? [] : ['', ...held.map((line) => renderLine(line, style))]),
    '',
    ...renderFields(
      [
        ...(status.fleet === undefined ? [] : fleetFields(status.fleet)),
        ...(status.store === undefined ? [] : [storeField(status.store, nowMs)]),
        ...pending(status.pendingDeliveries),
        ...monitoringFields(status, nowMs),
        ['serves', [plain(status.capabilities.join(', ') || 'nothing')]],
      ],
      style,
    ),
  ];
  const replicas =
    status.replicas.length > 0 ? status.replicas : status.replica === undefined ? [] : [status.replica];
  if (replicas.length > 0) lines.push('', ...replicaTable(replicas, status.replica?.id, nowMs, style));
  const services = serviceTable(status.services, nowMs, style);
  if (services.length > 0) lines.push('', ...services);
  return lines;
}

function pending(deliveries: number): [string, Line][] {
  if (deliveries === 0) return [];
  return [['deliveries', [plain(deliveries === 1 ? '1 is not finished' : `${deliveries} are not finished`)]]];
}

function fleetFields(fleet: FleetStatus): [string, Line][] {
  const fields: [string, Line][] = [['agents', counts(fleet)]];
  const phases = fleet.byPhase.filter(({ count }) => count > 0);
  if (phases.length > 0) {
    fields.push([
      'phases',
      separated(phases.map(({ phase, count }) => [plain(`${count} `), phaseSpan(phase)])),
    ]);
  }
  const figures: Span[][] = [];
  if (fleet.health !== undefined) {
    figures.push([plain('health '), { text: fleet.health.toFixed(2), tone: shareTone(fleet.health) }]);
  }
  if (fleet.load !== undefined) figures.push([plain(`load ${fleet.load.toFixed(2)}`)]);
  if (fleet.rttP50 !== undefined) {
    figures.push([
      plain(`round trip p50 ${formatDuration(fleet.rttP50)}, p95 ${formatDuration(fleet.rttP95)}`),
    ]);
  }
  if (figures.length > 0) {
    if (fleet.oldestReading !== undefined)
      figures.push([dim(`oldest reading ${formatDuration(fleet.oldestReading)}`)]);
    fields.push(['readings', separated(figures)]);
  }
  return fields;
}

function counts(fleet: FleetStatus): Line {
  const states = fleet.byLiveness
    .filter(({ count }) => count > 0)
    .map(({ liveness, count }) => [plain(`${count} `), livenessSpan(liveness)]);
  return [strong(String(fleet.agents)), ...(states.length > 0 ? [plain(': '), ...separated(states)] : [])];
}

function separated(parts: readonly (readonly Span[])[]): Span[] {
  return parts.flatMap((part, at) => (at === 0 ? part : [plain(', '), ...part]));
}

function storeField(store: StoreStatus, nowMs: number): [string, Line] {
  const since =
    store.since === undefined ? '' : ` for ${formatMs(Math.max(0, nowMs - timestampMs(store.since)))}`;
  const line: Span[] = [
    plain(`${store.kind} `),
    store.available ? good('available') : bad('NOT AVAILABLE'),
    plain(`${since}, durability ${store.durability || '?'}`),
  ];
  if (store.commitP99 !== undefined) line.push(plain(`, commits p99 ${formatDuration(store.commitP99)}`));
  line.push(dim(`, epoch ${store.epoch}`));
  if (store.pendingVerdicts > 0) line.push(warn(`, ${store.pendingVerdicts} verdicts wait to be stored`));
  if (store.detail !== '') line.push(store.available ? dim(`, ${store.detail}`) : warn(`: ${store.detail}`));
  return ['store', line];
}

export function replicaTable(
  replicas: readonly ReplicaStatus[],
  answering: string | undefined,
  nowMs: number,
  style: Style,
): string[] {
  return renderTable(
    [
      { title: 'REPLICA', shrinkTo: 10 },
      { title: 'STARTED' },
      { title: 'SESSIONS', align: 'right' },
      { title: 'LOOP P99/MAX', align: 'right', dropOrder: 3 },
      { title: 'CPU', align: 'right', dropOrder: 2 },
      { title: 'MEMORY', align: 'right', dropOrder: 1 },
      { title: 'PINGS EVERY', align: 'right', dropOrder: 4 },
      { title: 'READING', align: 'right' },
    ],
    replicas.map((replica) => [
      strong(`${replica.id}${replica.id === answering ? ' *' : ''}`),
      replica.draining ? warn('leaving') : plain(formatAgo(replica.startTime, nowMs)),
      plain(String(replica.sessions)),
      plain(`${formatDuration(replica.eventLoopDelayP99)}/${formatDuration(replica.eventLoopDelayMax)}`),
      plain(replica.cpuCores.toFixed(2)),
      plain(formatBytes(replica.memoryBytes)),
      plain(formatDuration(replica.pingInterval)),
      plain(formatDuration(replica.age)),
    ]),
    style,
  );
}

function formatBytes(bytes: bigint): string {
  const mebibytes = Number(bytes) / 1024 / 1024;
  return mebibytes < 1024 ? `${mebibytes.toFixed(0)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`;
}
