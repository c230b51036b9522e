import type { Alert } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { KeptAlert, Notice, Told } from './ports.ts';

/** An alert that waits for the sink, or is on its way. */
export interface Item {
  namespace: string;
  alertId: string;
  /** Told without the store, which is away. */
  direct: { alert: Alert; what: Told } | undefined;
  busy: boolean;
  tries: number;
  /** Refusals of this one. */
  refusals: number;
  retryAtMs: number;
  /** What the sink has, while it could not be stored that it has it. */
  has: Told | undefined;
  lastTryMs: number;
  error: string;
}

/** A try of one item. */
export interface Parcel {
  item: Item;
  what: Told;
  notice: Notice;
  /** As it was read for this; undefined: told without the store. */
  kept: KeptAlert | undefined;
  again: boolean;
}

export const keyOf = (namespace: string, alertId: string): string => `${namespace} ${alertId}`;

export const newItem = (namespace: string, alertId: string): Item => ({
  ...{ namespace, alertId, direct: undefined, busy: false, tries: 0, refusals: 0, retryAtMs: 0 },
  ...{ has: undefined, lastTryMs: 0, error: '' },
});
