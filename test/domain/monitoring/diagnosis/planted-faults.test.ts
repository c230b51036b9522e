import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Relationship_Type } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  MessageSchema,
  TaskSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  Operation_State,
  OperationSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { AlertSinkSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  Finding_Severity,
  ServiceStatus_State,
  ServiceStatusSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  Allocation_State,
  AllocationSchema,
  AllocationSpecSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import {
  AllocationRecordSchema,
  DeadLetterRecordSchema,
  DeliveryRecordSchema,
  LeaseRecordSchema,
  OperationRecordSchema,
  ReplicaRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encodeLease, leaseKey } from '../../../../src/domain/agent/care/care-records.ts';
import { deadKey, encodeDelivery, mailKey } from '../../../../src/domain/coordination/delivery-record.ts';
import {
  encodeOperation,
  operationKey,
} from '../../../../src/domain/coordination/operations/operation-record.ts';
import { encodeTask, taskKey } from '../../../../src/domain/coordination/tasks/task-record.ts';
import {
  allocationKey,
  encodeAllocation,
} from '../../../../src/domain/resource/allocations/allocation-record.ts';
import { encode } from '../../../../src/lib/encode.ts';
import { durationFromMs, timestampFromMs } from '../../../../src/lib/proto-time.ts';
import { sampleAlert } from '../../../support/sample-alert.ts';
import { give, newTask } from '../../coordination/tasks/task-records.ts';
import { type Rig, startRig } from './diagnosis-fixture.ts';

const MINUTE = 60_000;

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
  await rig.attach('a1', { capacity: { slots: 4n } });
  await rig.attach('a2', { relationships: [{ type: Relationship_Type.DEPENDS_ON, agentId: 'a1' }] });
});
afterEach(() => rig.stop());

const put = (key: string, value: Uint8Array) =>
  rig.fleet.store.commit({ namespace: 'default', puts: [{ key, value }] });
const ago = (ms: number) => timestampFromMs(rig.fleet.clock.wallMs() - ms);

const delivery = (agentId: string, ageMs: number) =>
  create(DeliveryRecordSchema, {
    ...{
      format: 1,
      id: 'd1',
      agentId,
      maxTries: 100,
      createTime: ago(ageMs),
      acceptWithin: durationFromMs(3_600_000),
    },
    item: { case: 'message', value: create(MessageSchema, { source: 'a2' }) },
  });

/** Another replica, as its soft record tells of it; written twice, as news that is. */
async function otherReplica(fields: { version?: string; aheadMs?: number }): Promise<void> {
  for (const sequence of [1, 2]) {
    const record = create(ReplicaRecordSchema, {
      id: 'replica-2',
      version: fields.version ?? '1.2.3',
      time: timestampFromMs(rig.fleet.clock.wallMs() + (fields.aheadMs ?? 0)),
    });
    const value = encode(ReplicaRecordSchema, record);
    await rig.system.putLive([
      { namespace: '_system', key: 'replica/replica-2', epoch: 1n, sequence, value },
    ]);
  }
}

/** A fault, the check that has to find it, what is planted, and of what the finding speaks. */
const faults: readonly [code: string, check: string, plant: () => unknown, subject: string | undefined][] = [
  [
    'store_unavailable',
    'system_coordination.verify_state',
    () => {
      rig.fleet.store.faults.away = true;
    },
    undefined,
  ],
  [
    'store_slow',
    'system_coordination.verify_state',
    () => {
      rig.fleet.store.faults.before = () => {
        rig.fleet.clock.advance(300);
        return Promise.resolve();
      };
    },
    undefined,
  ],
  [
    'views_behind',
    'system_coordination.verify_state',
    async () => {
      rig.fleet.store.faults.lagging = true;
      await put('state/x', new Uint8Array());
    },
    undefined,
  ],
  [
    'lease_holder_gone',
    'system_coordination.monitor_stability',
    async () => {
      // It was heard once, and is silent since.
      await otherReplica({});
      rig.fleet.clock.advance(11_000);
      await put(
        leaseKey('care'),
        encodeLease(create(LeaseRecordSchema, { duty: 'care', replicaId: 'replica-2' })),
      );
    },
    'replica-2',
  ],
  [
    'event_loop_stalled',
    'system_coordination.monitor_stability',
    () => {
      rig.around.reading = { ...rig.around.reading, eventLoopDelayMaxMs: 900 };
    },
    'replica-1',
  ],
  [
    'replica_clock_offset',
    'system_coordination.monitor_stability',
    () => otherReplica({ aheadMs: 90_000 }),
    'replica-2',
  ],
  [
    'operation_stopped',
    'system_coordination.review_operations',
    () => {
      const operation = create(OperationSchema, {
        id: 'o1',
        state: Operation_State.STOPPED,
        detail: '3 agents failed',
      });
      return put(
        operationKey('o1'),
        encodeOperation(create(OperationRecordSchema, { format: 1, operation })),
      );
    },
    'o1',
  ],
  [
    'relationship_dangling',
    'system_coordination.check_interactions',
    () =>
      rig.fleet.register('a3', {
        relationships: [{ type: Relationship_Type.DEPENDS_ON, agentId: 'nobody' }],
      }),
    'a3',
  ],
  [
    'agent_never_seen',
    'agent_management.check_registration',
    async () => {
      await rig.fleet.register('a3');
      rig.fleet.clock.advance(20 * MINUTE);
    },
    'a3',
  ],
  [
    'agents_lost',
    'agent_management.monitor_failures',
    async () => {
      await rig.fleet.attach('a3', await rig.fleet.register('a3'));
      await rig.fleet.pass(40_000);
    },
    'a3',
  ],
  [
    'agent_clock_offset',
    'agent_management.verify_health',
    async () => {
      const { session } = await rig.fleet.attach('a3', await rig.fleet.register('a3'));
      const { clock } = rig.fleet;
      const wrong = { valueMs: 7000 };
      Object.defineProperty(session, 'clockOffset', { get: () => wrong });
      clock.advance(1);
    },
    'a3',
  ],
  [
    'stuck_deliveries',
    'agent_management.review_communications',
    () => put(mailKey('a1', 'd1'), encodeDelivery(delivery('a1', 10 * MINUTE))),
    'd1',
  ],
  [
    'dead_letters',
    'agent_management.review_communications',
    () => {
      const letter = create(DeadLetterRecordSchema, {
        delivery: delivery('a1', MINUTE),
        reason: 'tries',
        time: ago(5000),
      });
      return put(deadKey('a1', 'd1'), encode(DeadLetterRecordSchema, letter));
    },
    'd1',
  ],
  [
    'orphaned_reservations',
    'resource_management.check_allocation',
    () =>
      rig.fleet.tasks.scheduling
        .ledger('default')
        .pool.hold('task-ghost-1', { agentId: 'a1', resources: { slots: 2 }, group: '', kind: 'task' }),
    'task-ghost-1',
  ],
  [
    'allocation_past_lease',
    'resource_management.check_allocation',
    () => {
      const allocation = create(AllocationSchema, {
        ...{ id: 'l1', agentId: 'a1', state: Allocation_State.ACTIVE, expireTime: ago(5 * MINUTE) },
        spec: create(AllocationSpecSchema, { resources: { slots: 1n } }),
      });
      return put(
        allocationKey('l1'),
        encodeAllocation(create(AllocationRecordSchema, { format: 1, allocation })),
      );
    },
    'l1',
  ],
  [
    'tasks_stuck',
    'resource_management.check_allocation',
    () => {
      const draft = { record: newTask({}, 't1'), withdrawn: [] };
      give(draft, 'a1', rig.fleet.clock.wallMs() - 10 * MINUTE, { slots: 1n });
      // Else the scheduler takes the attempt for one of an earlier agent of that name, and gives it anew.
      for (const live of draft.record.live) live.agentUid = rig.fleet.record('a1')?.agent?.uid ?? '';
      const offered = create(DeliveryRecordSchema, { ...delivery('a1', 10 * MINUTE), id: 'task-t1-1' });
      offered.item = { case: 'task', value: create(TaskSchema, { id: 't1', attempt: 1 }) };
      return rig.fleet.store.commit({
        namespace: 'default',
        puts: [
          { key: taskKey('t1'), value: encodeTask(draft.record) },
          { key: mailKey('a1', 'task-t1-1'), value: encodeDelivery(offered) },
        ],
      });
    },
    't1',
  ],
  [
    'overused',
    'resource_management.verify_usage',
    () => rig.fleet.tasks.scheduling.ledger('default').pool.setLoad('a1', 0.5, { slots: 9 }),
    'a1',
  ],
  [
    'alerts_firing',
    'system_monitoring.verify_alerts',
    () => {
      rig.around.alerts = [sampleAlert()];
    },
    'alert-1',
  ],
  [
    'dashboard_missing',
    'system_monitoring.monitor_dashboards',
    () => {
      rig.around.page = false;
    },
    undefined,
  ],
  [
    'history_unavailable',
    'system_monitoring.review_history',
    () => {
      rig.monitoring.faults.away = true;
    },
    undefined,
  ],
  [
    'history_behind',
    'system_monitoring.review_history',
    () => {
      rig.around.backlog = { chunks: 40, bytes: 4000, dropped: 0 };
    },
    undefined,
  ],
  [
    'sink_failing',
    'integration.check_sinks',
    () => {
      const failing = { name: 'pager', kind: 'webhook', healthy: false, failures: 3, error: 'answered 500' };
      rig.around.sinks = [create(AlertSinkSchema, failing)];
    },
    'pager',
  ],
  [
    'service_down',
    'integration.check_services',
    () => {
      const down = {
        name: 'llm',
        probe: 'http',
        state: ServiceStatus_State.DOWN,
        detail: 'connection refused',
      };
      rig.around.services = [create(ServiceStatusSchema, down)];
    },
    'llm',
  ],
  [
    'exporter_failing',
    'integration.check_exporters',
    () => {
      rig.around.exporters = [
        {
          signal: 'traces',
          target: 'collector:4317',
          healthy: false,
          lastMs: 1,
          failures: 4,
          error: 'refused',
        },
      ];
    },
    'traces',
  ],
  [
    'replica_versions_differ',
    'integration.check_versions',
    () => otherReplica({ version: '1.3.0' }),
    'replica-2',
  ],
];

describe('a healthy system', () => {
  it('has no finding above INFO, and a finding of every check', async () => {
    const { findings, severity } = await rig.diagnose();
    const bad = findings.filter((each) => each.severity > Finding_Severity.INFO);
    expect(bad.map(({ check, summary }) => `${check}: ${summary}`)).toEqual([]);
    expect(severity).toBeLessThanOrEqual(Finding_Severity.INFO);
    expect(new Set(findings.map(({ check }) => check)).size).toBe(21);
    for (const { summary } of findings) expect(summary).toMatch(/[.]$/);
  });

  it('walks the five steps in order', async () => {
    const { findings } = await rig.diagnose();
    const steps = findings.map(({ step }) => step);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    expect(new Set(steps)).toEqual(new Set([1, 2, 3, 4, 5]));
  });
});

describe('a planted fault', () => {
  it.each(faults)(
    '%s is found by %s, with what it is about and what to do',
    async (code, check, plant, subject) => {
      await plant();
      const found = await rig.finding(code);
      expect(found.check).toBe(check);
      expect(found.severity).toBeGreaterThan(Finding_Severity.INFO);
      expect(found.severity).not.toBe(Finding_Severity.UNKNOWN);
      if (subject !== undefined) expect(found.subjects).toContain(subject);
      if (code !== 'dashboard_missing')
        expect(found.evidence.length + found.subjects.length).toBeGreaterThan(0);
      expect(found.advice).not.toBe('');
    },
  );

  it('is not found by a look at another check', async () => {
    await put(mailKey('a1', 'd1'), encodeDelivery(delivery('a1', 10 * MINUTE)));
    const { findings } = await rig.diagnose('integration.*');
    expect(findings.map(({ step }) => step)).toEqual(findings.map(() => 5));
  });
});
