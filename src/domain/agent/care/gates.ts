import type { BrakeConfig } from '../../../config/config.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { KnownAgent } from '../directory.ts';
import { isMassFailure } from './brake.ts';
import type { CareRecords } from './care-records.ts';
import type { Settling } from './settling.ts';
import { type Troubles, zoneOf } from './troubles.ts';

/** Whether automatic action may be taken on an agent now. */
export type Gate =
  | { kind: 'open' }
  /** The brake is set, but this goes on at the configured rate: the loss was confirmed, or the brake has held long enough. */
  | { kind: 'limited' }
  /** It waits. */
  | { kind: 'held'; why: 'collecting' | 'frozen' | 'braked'; detail: string };

export interface GatesOptions {
  records: CareRecords;
  troubles: Troubles;
  settling: Settling;
  config: BrakeConfig;
}

const OPEN: Gate = { kind: 'open' };
const LIMITED: Gate = { kind: 'limited' };

/** What holds automatic action back: frozen automation, the collecting of agents after a start, and the brake. */
export class Gates {
  readonly #options: GatesOptions;

  constructor(options: GatesOptions) {
    this.#options = options;
  }

  isFrozen(namespace: string): boolean {
    return this.#options.records.freeze(namespace) !== undefined;
  }

  /** For what takes something from an agent. */
  of(known: KnownAgent, storeMs: number): Gate {
    const { records, settling } = this.#options;
    const frozen = records.freeze(known.namespace)?.record;
    if (frozen !== undefined) {
      const why = frozen.reason === '' ? '' : `: ${frozen.reason}`;
      return held('frozen', `automation was frozen by ${frozen.actor}${why}`);
    }
    const collectingMs = settling.remainingMs(known.namespace);
    if (collectingMs > 0) {
      const seconds = Math.ceil(collectingMs / 1000);
      return held(
        'collecting',
        `agents are being collected after a start or an outage, for ${seconds} s yet`,
      );
    }
    return this.#brake(known, storeMs);
  }

  #brake(known: KnownAgent, storeMs: number): Gate {
    const { records, troubles, config } = this.#options;
    const { namespace, record } = known;
    const zone = zoneOf(record);
    const covering = (records.brakes(namespace)?.record.brakes ?? []).filter(
      (brake) => brake.zone === '' || brake.zone === zone,
    );
    // What was not stored as a brake yet holds all the same.
    const counts = [troubles.of(namespace), troubles.everywhere(), troubles.zones(namespace).get(zone)];
    const over = counts.some((count) => count !== undefined && isMassFailure(count, config));
    if (covering.length === 0 && !over) return OPEN;
    if (record.lossConfirmedEpoch === record.sessionEpoch && record.sessionEpoch !== 0n) return LIMITED;
    const startMs = Math.max(
      ...covering.map(({ startTime }) => (startTime === undefined ? 0 : msFromTimestamp(startTime))),
    );
    const passed = covering.length > 0 && config.holdMs > 0 && startMs + config.holdMs <= storeMs;
    if (passed) return LIMITED;
    const where =
      covering.length > 0 && covering.every((brake) => brake.zone !== '') ? `zone ${zone}` : 'its namespace';
    const until =
      config.holdMs > 0 ? `ConfirmLoss or for ${Math.round(config.holdMs / 1000)} s` : 'ConfirmLoss';
    return held(
      'braked',
      `too many agents of ${where} failed at once: the brake holds until they return, ${until}`,
    );
  }
}

const held = (why: 'collecting' | 'frozen' | 'braked', detail: string): Gate => ({
  kind: 'held',
  why,
  detail,
});
