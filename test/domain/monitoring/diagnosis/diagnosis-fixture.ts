import { create } from '@bufbuild/protobuf';
import type { Alert, AlertSink } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  DiagnoseRequestSchema,
  type DiagnoseResponse,
  type Finding,
  type ServiceStatus,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { createDiagnosis, type Sight } from '../../../../src/diagnosis.ts';
import { compileRules, publicRule } from '../../../../src/domain/monitoring/alerts/compile-rules.ts';
import type { ExporterHealth } from '../../../../src/domain/monitoring/diagnosis/ports.ts';
import { Replicas, type SelfReading } from '../../../../src/domain/monitoring/replicas.ts';
import type { Stores } from '../../../../src/stores.ts';
import { MemoryStore } from '../../../support/memory-store.ts';
import { startFleet, type TestFleet } from '../../agent/fleet-fixture.ts';

/** What surrounds the fleet; a test changes what it wants to be wrong. */
export interface Surroundings {
  reading: SelfReading;
  exporters: ExporterHealth[];
  sinks: AlertSink[];
  services: ServiceStatus[];
  alerts: Alert[];
  backlog: { chunks: number; bytes: number; dropped: number };
  page: boolean;
  /** Wrapped around the store of the agents. */
  stores: Partial<Stores>;
  aliveReplicas: Set<string>;
}

export type Rig = Awaited<ReturnType<typeof startRig>>;

/** A whole fleet on a store in memory, with the diagnosis wired to it as the service does. */
export async function startRig(flags: Record<string, string> = {}) {
  const around: Surroundings = {
    reading: {
      sessions: 0,
      eventLoopDelayP99Ms: 2,
      eventLoopDelayMaxMs: 5,
      cpuCores: 0.1,
      memoryBytes: 100 << 20,
      pingIntervalMs: 5000,
      draining: false,
    },
    exporters: [],
    sinks: [],
    services: [],
    alerts: [],
    backlog: { chunks: 0, bytes: 0, dropped: 0 },
    page: true,
    stores: {},
    aliveReplicas: new Set(['replica-1']),
  };
  const fleet: TestFleet = await startFleet({ replicaAlive: (id) => around.aliveReplicas.has(id), flags });
  const { clock, config, log, store } = fleet;
  const system = new MemoryStore({ wallMs: () => clock.wallMs() });
  const monitoring = new MemoryStore({ wallMs: () => clock.wallMs() });
  const replicas = new Replicas({
    ...{ store: system, clock, log, replicaId: config.id, version: '1.2.3', maxPingsPerSecond: 2000 },
    stallMs: () => 0,
    read: () => around.reading,
  });
  await system.follow({ batch: () => {}, snapshot: () => {}, live: (records) => replicas.live(records) });
  const rules = [...compileRules(config).values()].map((rule) => publicRule(rule));
  const sight: Sight = {
    metrics: { readings: () => [], analysedMs: () => clock.wallMs() },
    alerts: {
      view: { open: () => around.alerts.map((alert) => ({ alert })) as never, records: () => [] },
      present: { alert: (known) => (known as unknown as { alert: Alert }).alert },
      reader: { rules: () => ({ rules }) as never },
    },
    history: () => around.backlog,
    sinks: () => around.sinks,
    services: () => around.services,
  };
  const diagnose = async (...checks: string[]): Promise<DiagnoseResponse> => {
    const diagnosis = createDiagnosis({
      ...{ config, fleet, replicas, clock, log, sight, settleMs: 150 },
      stores: { agents: store, system, monitoring, ...around.stores },
      dashboards: { built: () => around.page, watches: () => ({ open: 0, most: 1000 }) },
      exporters: () => around.exporters,
    });
    return diagnosis.run(create(DiagnoseRequestSchema, { checks }));
  };
  return {
    fleet,
    around,
    replicas,
    system,
    monitoring,
    diagnose,
    /** The finding of a code; fails where there is none. */
    finding: async (code: string, ...checks: string[]): Promise<Finding> => {
      const { findings } = await diagnose(...checks);
      const found = findings.find((each) => each.code === code);
      if (found === undefined)
        throw new Error(`no ${code} among ${findings.map((each) => each.code).join(', ')}`);
      return found;
    },
    /** An agent that is attached and answers. */
    async attach(agentId: string, spec: Parameters<TestFleet['register']>[1] = {}): Promise<void> {
      await fleet.attach(agentId, await fleet.register(agentId, spec), { answers: true });
    },
    stop: () => fleet.stop(),
  };
}
