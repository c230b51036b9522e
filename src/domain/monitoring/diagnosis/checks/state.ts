import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { DiskReading } from '../../../../lib/host.ts';
import { type Store, StoreUnavailableError } from '../../../../state/store.ts';
import type { Views } from '../../../../state/views.ts';
import { SYSTEM_NAMESPACE } from '../../../namespaces.ts';
import type { Check, Found, Scope } from '../check.ts';
import { settled } from '../settled.ts';
import { bytes, count, few, percent, time } from '../words.ts';

export interface StateOptions {
  /** By database: "agents", "system", "monitoring"; two may be one. */
  stores: Readonly<Record<string, Store>>;
  views: Pick<Views, 'position' | 'waitFor'>;
  replicaId: string;
  /** Of embedded stores; empty: there are none. */
  disks(): Promise<DiskReading[]>;
  /** Monotonic milliseconds. */
  monoMs(): number;
}

/** A commit that takes longer makes everything slow; or is a sign that the disk is failing. */
const SLOW_MS = 200;
const VERY_SLOW_MS = 2000;
const LOW_SHARE = 0.1;
const LOW_BYTES = 2 * 2 ** 30;
const VERY_LOW_SHARE = 0.03;
const VERY_LOW_BYTES = 512 * 2 ** 20;

/** Whether the stores keep what they are given, how fast, and whether views show it. */
export function verifyState(options: StateOptions): Check {
  return {
    id: 'system_coordination.verify_state',
    step: 1,
    async run(scope) {
      const found: Found[] = [];
      const distinct = new Map<Store, string>();
      for (const [name, store] of Object.entries(options.stores)) {
        distinct.set(store, distinct.has(store) ? `${distinct.get(store)}, ${name}` : name);
      }
      const tries = [...distinct].map(([store, name]) => tryOut(options, store, name, scope.settleMs));
      const probes = await Promise.all(tries);
      for (const probe of probes) found.push(...probe.found);
      const [disks, behind] = await Promise.all([options.disks(), lag(options, scope)]);
      for (const disk of disks) found.push(...low(disk));
      found.push(...behind);
      const words = probes.map(({ words }) => words).join('; ');
      return {
        found,
        well: `${words}; views of ${count(scope.namespaces.length, 'namespace')} are current.`,
      };
    },
  };
}

/** A real commit, and whether it can be read back. */
async function tryOut(
  { replicaId, views, monoMs, stores }: StateOptions,
  store: Store,
  name: string,
  seenMs: number,
): Promise<{ found: Found[]; words: string }> {
  const key = `~diagnosis/${replicaId}`;
  const value = new TextEncoder().encode(`${Date.now()} ${Math.random()}`);
  const { kind, durability } = store.status();
  const found: Found[] = [];
  try {
    const startMs = monoMs();
    const outcome = await store.commit({ namespace: SYSTEM_NAMESPACE, puts: [{ key, value }] });
    const commitMs = monoMs() - startMs;
    const read = await store.get(SYSTEM_NAMESPACE, key);
    const readMs = monoMs() - startMs - commitMs;
    const figures = `a commit took ${time(commitMs)}, reading it back ${time(readMs)}`;
    if (read === undefined || outcome.kind !== 'committed' || read.revision < outcome.revision) {
      found.push({
        code: 'store_loses_writes',
        severity: Finding_Severity.CRITICAL,
        summary: `The store of ${name} (${kind}) does not return what it has just taken.`,
        evidence: [`the commit: ${outcome.kind}`, `read back at revision ${read?.revision ?? 0n}`],
        advice: 'See whether another store answers at this address, or one that evicts keys.',
      });
    }
    const seen =
      store !== stores.agents ||
      outcome.kind !== 'committed' ||
      (await shows(views, outcome.revision, seenMs));
    if (!seen) {
      found.push({
        code: 'views_behind',
        severity: Finding_Severity.CRITICAL,
        summary: `What was committed to the store of ${name} has not reached the views of this replica within ${time(seenMs)}.`,
        evidence: [figures, `replica ${replicaId}`],
        advice:
          'Its change feed is stuck or it has too much to do: see its log and its event-loop delay, and restart it.',
      });
    }
    // It was for this look only.
    await store.commit({ namespace: SYSTEM_NAMESPACE, deletes: [key] });
    if (commitMs > SLOW_MS) {
      found.push({
        code: 'store_slow',
        severity: commitMs > VERY_SLOW_MS ? Finding_Severity.CRITICAL : Finding_Severity.WARNING,
        summary: `The store of ${name} (${kind}) is slow: ${figures}.`,
        evidence: [`usual are a few milliseconds; ${time(SLOW_MS)} is slow`],
        advice:
          kind === 'redis'
            ? 'See its SLOWLOG, its persistence and the way there.'
            : 'See what else writes to this disk.',
      });
    }
    if (durability === 'process') {
      found.push({
        code: 'store_durability',
        severity: Finding_Severity.INFO,
        summary: `What is acknowledged by the store of ${name} (${kind}) survives the death of this service, and not that of the machine.`,
        evidence: [`durability "${durability}"`],
        advice: kind === 'redis' ? 'Set appendfsync always, or redis.min_replicas.' : '',
      });
    }
    return { found, words: `${name} (${kind}, ${durability}): ${figures}` };
  } catch (error) {
    if (!(error instanceof StoreUnavailableError)) throw error;
    return {
      found: [
        {
          code: 'store_unavailable',
          severity: Finding_Severity.CRITICAL,
          summary: `The store of ${name} (${kind}) does not answer.`,
          evidence: [error.message, store.status().detail].filter((text) => text !== ''),
          advice: 'Agents stay attached meanwhile. See whether it runs and can be reached from this machine.',
        },
      ],
      words: `${name} does not answer`,
    };
  }
}

const shows = (views: StateOptions['views'], revision: bigint, seenMs: number): Promise<boolean> =>
  views.waitFor(SYSTEM_NAMESPACE, revision, seenMs).then(
    () => true,
    () => false,
  );

/** Namespaces whose views do not come after the store. */
async function lag({ stores, views }: StateOptions, scope: Scope): Promise<Found[]> {
  const store = stores.agents;
  if (store === undefined || !store.status().available) return [];
  const look = async () => {
    const late: { namespace: string; behind: bigint; shown: bigint }[] = [];
    for (const namespace of scope.namespaces) {
      // First what is shown: it only grows.
      const shown = views.position(namespace).revision;
      const { revision } = await store.position(namespace);
      if (revision > shown) late.push({ namespace, behind: revision - shown, shown });
    }
    return late;
  };
  // The same revision is still shown: it does not move at all.
  const stuck = await settled(look, ({ namespace, shown }) => `${namespace} ${shown}`, scope);
  if (stuck.length === 0) return [];
  return [
    {
      code: 'views_behind',
      severity: Finding_Severity.CRITICAL,
      summary: `The views of this replica do not follow the store in ${count(stuck.length, 'namespace')}: ${few(stuck.map(({ namespace }) => namespace))}.`,
      evidence: stuck.map(
        ({ namespace, behind, shown }) =>
          `${namespace}: stays at revision ${shown}, ${behind} behind the store`,
      ),
      advice: 'What this replica shows and decides is old: see its log, and restart it.',
      subjects: stuck.map(({ namespace }) => namespace),
    },
  ];
}

function low({ path, freeBytes, totalBytes, usedBytes }: DiskReading): Found[] {
  const share = totalBytes === 0 ? 1 : freeBytes / totalBytes;
  const isLow = share < LOW_SHARE && freeBytes < LOW_BYTES;
  const isVeryLow = (share < VERY_LOW_SHARE && freeBytes < LOW_BYTES) || freeBytes < VERY_LOW_BYTES;
  if (!isLow && !isVeryLow) return [];
  return [
    {
      code: 'disk_low',
      severity: isVeryLow ? Finding_Severity.CRITICAL : Finding_Severity.WARNING,
      summary: `Only ${bytes(freeBytes)} (${percent(share)}) are free on the disk of the store in ${path}.`,
      evidence: [`of ${bytes(totalBytes)} in all; the store takes ${bytes(usedBytes)}`],
      advice: 'Free some, or lower events.retention and history.*: once it is full nothing can be stored.',
      subjects: [path],
    },
  ];
}
