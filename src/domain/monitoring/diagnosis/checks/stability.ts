import {
  Finding_Severity,
  type ReplicaStatus,
} from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../../lib/clock.ts';
import type { HostReading } from '../../../../lib/host.ts';
import { msFromDuration } from '../../../../lib/proto-time.ts';
import type { Store } from '../../../../state/store.ts';
import type { CareRecords } from '../../../agent/care/care-records.ts';
import type { Outlook } from '../../../agent/care/outlook.ts';
import { SYSTEM_NAMESPACE } from '../../../namespaces.ts';
import type { Check, Found, Scope } from '../check.ts';
import { settled } from '../settled.ts';
import { bytes, count, few, percent, time } from '../words.ts';

export interface StabilityOptions {
  records: Pick<CareRecords, 'leases'>;
  outlook: Pick<Outlook, 'brakes' | 'freezes'>;
  replicas: {
    all(): ReplicaStatus[];
    isAlive(replicaId: string): boolean;
    /** What the clock of each other replica is ahead of ours. */
    clockOffsets(): { id: string; offsetMs: number }[];
  };
  store: Pick<Store, 'now' | 'status'>;
  clock: Clock;
  host(): Promise<HostReading>;
}

/** A replica that stands still for so long cannot tell who is late: itself or its agents. */
const STALL_MS = 500;
const LONG_STALL_MS = 5000;
/** Times of different origin in one log are of no use any more. */
const CLOCK_MS = 1000;
const FULL_SHARE = 0.8;
const VERY_FULL_SHARE = 0.95;

/** Whether the replicas run smoothly, somebody does each duty, and nothing holds automatic action back. */
export function monitorStability(options: StabilityOptions): Check {
  return {
    id: 'system_coordination.monitor_stability',
    step: 1,
    async run(scope) {
      const replicas = options.replicas.all();
      const [leases, clocks, host] = await Promise.all([
        abandoned(options, scope),
        clockOffsets(options, scope),
        options.host(),
      ]);
      const found = [
        ...leases.found,
        ...clocks,
        ...replicas.flatMap(stalls),
        ...brakes(options.outlook, scope),
        ...files(host),
        ...memory(host),
      ];
      const open = host.openFiles === undefined ? '' : `, ${host.openFiles} of ${host.maxFiles} files open`;
      const well = `${count(replicas.length, 'replica')} without stalls, ${count(leases.held, 'lease')} held by replicas that are there, clocks agree, no brake is set${open}.`;
      return { found, well };
    },
  };
}

/** Leases whose holders are not there. They change hands within ten seconds. */
async function abandoned({ records, replicas }: StabilityOptions, scope: Scope) {
  let held = 0;
  const look = () => {
    held = 0;
    const gone: { namespace: string; duty: string; holder: string }[] = [];
    for (const namespace of [...scope.namespaces, ...(scope.whole ? [SYSTEM_NAMESPACE] : [])]) {
      for (const { duty, replicaId } of records.leases(namespace)) {
        // It was given back; whoever comes next takes it.
        if (replicaId === '') continue;
        held += 1;
        if (!replicas.isAlive(replicaId)) gone.push({ namespace, duty, holder: replicaId });
      }
    }
    return gone;
  };
  const gone = await settled(look, ({ namespace, duty, holder }) => `${namespace} ${duty} ${holder}`, scope);
  const byHolder = new Map<string, typeof gone>();
  for (const lease of gone) byHolder.set(lease.holder, [...(byHolder.get(lease.holder) ?? []), lease]);
  const found = [...byHolder].map(
    ([holder, leases]): Found => ({
      code: 'lease_holder_gone',
      severity: Finding_Severity.WARNING,
      summary: `Replica ${holder} is not heard any more and still holds ${count(leases.length, 'lease')}: ${few(leases.map(({ namespace, duty }) => `${duty} of ${namespace}`))}.`,
      evidence: leases.map(
        ({ namespace, duty }) => `lease ${duty} of namespace ${namespace}: held by ${holder}`,
      ),
      advice:
        'Another replica takes them over within ten seconds of hearing nothing. If this stays, that one has the parts switched off (capabilities), or cannot write to the store.',
      subjects: [holder],
    }),
  );
  return { held, found };
}

async function clockOffsets({ replicas, store, clock }: StabilityOptions, scope: Scope): Promise<Found[]> {
  if (!scope.whole) return [];
  const found: Found[] = [];
  const others = await settled(
    () => replicas.clockOffsets().filter(({ offsetMs }) => Math.abs(offsetMs) > CLOCK_MS),
    ({ id }) => id,
    scope,
  );
  if (others.length > 0) {
    found.push({
      code: 'replica_clock_offset',
      severity: Finding_Severity.WARNING,
      summary: `The clocks of ${count(others.length, 'replica')} differ from the one of this replica by more than ${time(CLOCK_MS)}.`,
      evidence: others.map(({ id, offsetMs }) => `${id}: ${ahead(offsetMs)}`),
      advice:
        'Deadlines do not depend on it, but times in events and logs do: run NTP or chrony on each machine.',
      subjects: others.map(({ id }) => id),
    });
  }
  if (!store.status().available) return found;
  const offsets: number[] = [];
  for (let tries = 0; tries < 3; tries += 1) {
    const beforeMs = clock.wallMs();
    const storeMs = await store.now();
    offsets.push(storeMs - (beforeMs + clock.wallMs()) / 2);
  }
  const offsetMs = offsets.reduce((least, each) => (Math.abs(each) < Math.abs(least) ? each : least));
  if (Math.abs(offsetMs) > CLOCK_MS) {
    found.push({
      code: 'store_clock_offset',
      severity: Finding_Severity.WARNING,
      summary: `The clock of the store is ${ahead(offsetMs)} of the one of this machine.`,
      evidence: [`asked three times, the nearest answer: ${time(offsetMs)}`],
      advice:
        'Leases run by the clock of the store, times in events by the one of the replica: run NTP or chrony on both.',
    });
  }
  return found;
}

const ahead = (ms: number): string => `${time(Math.abs(ms))} ${ms > 0 ? 'ahead' : 'behind'}`;

function stalls({ id, eventLoopDelayMax, eventLoopDelayP99, cpuCores, age }: ReplicaStatus): Found[] {
  const maxMs = eventLoopDelayMax === undefined ? 0 : msFromDuration(eventLoopDelayMax);
  const p99Ms = eventLoopDelayP99 === undefined ? 0 : msFromDuration(eventLoopDelayP99);
  if (maxMs < STALL_MS) return [];
  return [
    {
      code: 'event_loop_stalled',
      severity: maxMs >= LONG_STALL_MS ? Finding_Severity.CRITICAL : Finding_Severity.WARNING,
      summary: `Replica ${id} stood still for ${time(maxMs)} in the last ten seconds.`,
      evidence: [
        `event-loop delay: 99th percentile ${time(p99Ms)}, longest ${time(maxMs)}`,
        `CPU: ${cpuCores.toFixed(2)} cores`,
        `read ${time(age === undefined ? 0 : msFromDuration(age))} ago`,
      ],
      advice:
        'Verdicts wait meanwhile. Give it more CPU, or start another replica; see what else runs on its machine.',
      subjects: [id],
    },
  ];
}

function brakes(outlook: StabilityOptions['outlook'], { namespaces, whole }: Scope): Found[] {
  const wanted = (namespace: string): boolean => whole || namespaces.includes(namespace);
  const set = outlook.brakes(undefined).filter(({ namespace }) => wanted(namespace));
  const frozen = outlook.freezes(undefined).filter(({ namespace }) => wanted(namespace));
  return [
    ...set.map(
      ({ namespace, zone, failing, agents, held, detail }): Found => ({
        code: 'brake_engaged',
        severity: Finding_Severity.CRITICAL,
        summary: `The brake for mass failures is set in ${zone === '' ? 'the whole namespace' : `zone ${zone}`}: ${failing} of ${agents} agents are in trouble, and action on ${held} waits.`,
        evidence: [detail],
        advice: 'See what they have in common. If they are really gone: orchestrator losses confirm.',
        namespace,
      }),
    ),
    ...frozen.map(
      ({ namespace, actor, reason }): Found => ({
        code: 'automation_frozen',
        severity: Finding_Severity.WARNING,
        summary: `Automatic action is frozen by ${actor}${reason === '' ? '' : `: ${reason}`}.`,
        advice: 'When that is over: orchestrator automation enable.',
        namespace,
      }),
    ),
  ];
}

function files({ openFiles, maxFiles }: HostReading): Found[] {
  if (openFiles === undefined || maxFiles === undefined) return [];
  const share = openFiles / maxFiles;
  if (share < FULL_SHARE) return [];
  return [
    {
      code: 'file_limit_near',
      severity: share < VERY_FULL_SHARE ? Finding_Severity.WARNING : Finding_Severity.CRITICAL,
      summary: `This replica has ${openFiles} of at most ${maxFiles} files and connections open.`,
      evidence: [`${percent(share)} of its limit (RLIMIT_NOFILE)`],
      advice:
        'Raise it (ulimit -n, LimitNOFILE= of systemd), or start another replica: each agent takes one.',
    },
  ];
}

function memory({ memoryBytes, maxMemoryBytes }: HostReading): Found[] {
  if (maxMemoryBytes === undefined || memoryBytes / maxMemoryBytes < FULL_SHARE) return [];
  const share = memoryBytes / maxMemoryBytes;
  return [
    {
      code: 'memory_limit_near',
      severity: share < VERY_FULL_SHARE ? Finding_Severity.WARNING : Finding_Severity.CRITICAL,
      summary: `This replica takes ${bytes(memoryBytes)} of at most ${bytes(maxMemoryBytes)} of memory.`,
      evidence: [`${percent(share)} of the limit of its container or machine`],
      advice: 'Give it more, or start another replica.',
    },
  ];
}
