import { create } from '@bufbuild/protobuf';
import { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  type BrakesRecord_Brake,
  BrakesRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { BrakeConfig } from '../../../config/config.ts';
import { msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import type { Check, Store } from '../../../state/store.ts';
import type { EventWriter, NewEvent } from '../../monitoring/events.ts';
import type { AgentDirectory, KnownAgent } from '../directory.ts';
import { agentOf } from '../record.ts';
import { decideBrakes, type Scope, type SetBrake, type Trouble } from './brake.ts';
import { BRAKES_KEY, type CareRecords, encodeBrakes } from './care-records.ts';
import { goneMsOf } from './needs.ts';
import { isHandled, type Troubles, zoneOf } from './troubles.ts';

export interface BrakesOptions {
  store: Store;
  directory: AgentDirectory;
  records: CareRecords;
  troubles: Troubles;
  events: EventWriter;
  config: BrakeConfig;
}

/** Sets and lifts the brakes of a namespace, for whoever holds its lease. They are stored, so they outlive a failover. */
export class Brakes {
  readonly #options: BrakesOptions;

  constructor(options: BrakesOptions) {
    this.#options = options;
  }

  /** The brakes as they should be, stored if that is new. @param collecting none is set yet */
  async keep(
    namespace: string,
    fence: Check,
    storeMs: number,
    collecting: boolean,
  ): Promise<'kept' | 'refused'> {
    const { store, records, config, events } = this.#options;
    const kept = records.brakes(namespace);
    const set = (kept?.record.brakes ?? []).map(setBrake);
    const { scopes, everywhereGone } = this.#scopes(namespace, set);
    const everywhere = { ...this.#options.troubles.everywhere(), gone: everywhereGone };
    const decided = decideBrakes({ set, scopes, everywhere, config, storeMs, collecting });
    if (decided.newly.length === 0 && decided.lifted.length === 0) return 'kept';
    const lifted = decided.lifted.map((brake) => ({
      brake,
      scope: scopes.find(({ zone }) => zone === brake.zone),
    }));
    const outcome = await store.commit({
      namespace,
      checks: [fence, { key: BRAKES_KEY, revision: kept?.revision ?? 0n }],
      ...(decided.brakes.length === 0
        ? { deletes: [BRAKES_KEY] }
        : { puts: [{ key: BRAKES_KEY, value: encodeBrakes(recordOf(decided.brakes)) }] }),
      appends: [
        ...decided.newly.map((brake) => events.append(setEvent(namespace, brake))),
        ...lifted.map(({ brake, scope }) => events.append(liftedEvent(namespace, brake, scope, storeMs))),
      ],
    });
    return outcome.kind === 'conflict' && outcome.key === fence.key ? 'refused' : 'kept';
  }

  #scopes(namespace: string, set: readonly SetBrake[]): { scopes: Scope[]; everywhereGone: number } {
    const { troubles, records } = this.#options;
    // While no brake is set, nothing depends on who waits and who is gone.
    const braked = set.length > 0;
    const tally = braked ? this.#tally(namespace, set) : new Map<string, { gone: number; waiting: number }>();
    const scope = (zone: string, { failing, agents }: Trouble): Scope => ({
      zone,
      failing,
      agents,
      ...(tally.get(zone) ?? { gone: 0, waiting: 0 }),
    });
    const scopes = [scope('', troubles.of(namespace))];
    for (const [zone, trouble] of troubles.zones(namespace)) scopes.push(scope(zone, trouble));
    let everywhereGone = tally.get('')?.gone ?? 0;
    if (set.some(({ zone }) => zone === '')) {
      for (const [other, { record }] of records.braked()) {
        if (other === namespace) continue;
        const brakes = record.brakes.filter(({ zone }) => zone === '').map(setBrake);
        if (brakes.length > 0) everywhereGone += this.#tally(other, brakes).get('')?.gone ?? 0;
      }
    }
    return { scopes, everywhereGone };
  }

  /** Goes through all agents of a namespace: only while a brake of it is set. */
  #tally(namespace: string, set: readonly SetBrake[]): Map<string, { gone: number; waiting: number }> {
    const byZone = new Map(set.map(({ zone, startMs }) => [zone, { startMs, gone: 0, waiting: 0 }]));
    const count = (zone: string, known: KnownAgent): void => {
      const tally = byZone.get(zone);
      if (tally === undefined) return;
      if (!isHandled(known.record)) tally.waiting += 1;
      else if (goneMsOf(known.record) >= tally.startMs) tally.gone += 1;
    };
    for (const known of this.#options.directory.all(namespace)) {
      if (agentOf(known.record).liveness !== Agent_Liveness.LOST) continue;
      count('', known);
      const zone = zoneOf(known.record);
      if (zone !== '') count(zone, known);
    }
    return byZone;
  }
}

function setBrake(brake: BrakesRecord_Brake): SetBrake {
  const { zone, failing, agents, threshold, startTime } = brake;
  return {
    zone,
    failing,
    agents,
    threshold,
    startMs: startTime === undefined ? 0 : msFromTimestamp(startTime),
  };
}

const recordOf = (brakes: readonly SetBrake[]) =>
  create(BrakesRecordSchema, {
    brakes: brakes.map(({ startMs, ...figures }) => ({ ...figures, startTime: timestampFromMs(startMs) })),
  });

const whereOf = (namespace: string, zone: string): string =>
  zone === '' ? `namespace ${namespace}` : `zone ${zone} of namespace ${namespace}`;

function setEvent(namespace: string, { zone, failing, agents, threshold }: SetBrake): NewEvent {
  const share = `${Math.round((100 * failing) / Math.max(1, agents))} %`;
  return {
    type: 'brake.set',
    severity: Event_Severity.ERROR,
    message:
      `${failing} of ${agents} agents (${share}) failed at once, ${Math.round(100 * threshold)} % set the brake: ` +
      `no automatic action on agents of ${whereOf(namespace, zone)} until they return or ConfirmLoss says that the loss is real`,
    actor: 'rule:mass_failure',
    attributes: { zone, failing: `${failing}`, agents: `${agents}`, threshold: `${threshold}` },
  };
}

function liftedEvent(
  namespace: string,
  { zone, startMs }: SetBrake,
  scope: Scope | undefined,
  storeMs: number,
): NewEvent {
  const { failing, agents, gone } = scope ?? { failing: 0, agents: 0, gone: 0 };
  const lasted = Math.round((storeMs - startMs) / 1000);
  return {
    type: 'brake.lifted',
    severity: Event_Severity.INFO,
    message:
      `${failing} of ${agents} agents of ${whereOf(namespace, zone)} are in trouble now` +
      `${gone > 0 ? `, ${gone} stayed away` : ''}: automatic action goes on after ${lasted} s`,
    actor: 'rule:mass_failure',
    attributes: { zone, failing: `${failing}`, agents: `${agents}`, gone: `${gone}`, seconds: `${lasted}` },
  };
}
