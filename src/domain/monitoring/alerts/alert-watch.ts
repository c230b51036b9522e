import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type WatchAlertsResponse,
  WatchAlertsResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { WatchAlertsRequest } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import { isShown } from './alert-reader.ts';
import { alertOf, isOpen } from './alert-record.ts';
import type { AlertView, KnownAlert } from './alert-view.ts';
import type { PresentAlerts } from './present-alert.ts';
import type { StoreOutage } from './store-outage.ts';
import { startMsOf } from './transitions.ts';

export interface AlertWatchOptions {
  view: AlertView;
  present: PresentAlerts;
  /** That the store is away: it cannot be stored. */
  outage: Pick<StoreOutage, 'known' | 'subscribe'>;
  /** Changes that a watcher may be behind. */
  watchBuffer: number;
}

const AT_A_TIME = 256;
const MAX_RESOLVED = 1000;

/**
 * The alerts and silences that there are, then each as it changes: of one that changed several times since the last response
 * only the last state is told.
 */
export async function* watchAlerts(
  request: WatchAlertsRequest,
  signal: AbortSignal,
  { view, present, outage, watchBuffer }: AlertWatchOptions,
): AsyncGenerator<WatchAlertsResponse, void, undefined> {
  const { namespace } = request;
  const isOf = (where: string): boolean =>
    namespace === '' || where === namespace || where === SYSTEM_NAMESPACE;
  const changed = new Set<string>();
  const silences = new Set<string>();
  let wake: (() => void) | undefined;
  let tooSlow = false;
  const note = (set: Set<string>, where: string, id: string): void => {
    if (!isOf(where)) return;
    if (set.size >= watchBuffer && !set.has(id)) tooSlow = true;
    else set.add(id);
    wake?.();
  };
  const stop = view.subscribe({
    alert: (where, id) => note(changed, where, id),
    silence: (where, id) => note(silences, where, id),
  });
  const stopOutage = outage.subscribe((id) => note(changed, SYSTEM_NAMESPACE, id));
  const abort = (): void => wake?.();
  signal.addEventListener('abort', abort, { once: true });
  const told = new Set<string>();
  try {
    yield* snapshot(request, { view, present, outage }, told, isOf);
    while (!signal.aborted) {
      if (tooSlow) throw slow(watchBuffer);
      if (changed.size > 0 || silences.size > 0) {
        yield news(take(changed), take(silences), { view, present, outage, told, namespace });
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      wake = undefined;
    }
  } finally {
    stop();
    stopOutage();
    signal.removeEventListener('abort', abort);
  }
}

function* snapshot(
  request: WatchAlertsRequest,
  { view, present, outage }: Omit<AlertWatchOptions, 'watchBuffer'>,
  told: Set<string>,
  isOf: (namespace: string) => boolean,
): Generator<WatchAlertsResponse> {
  const open: KnownAlert[] = [];
  const resolved: KnownAlert[] = [];
  for (const [, known] of view.records()) {
    if (!isOf(known.namespace)) continue;
    if (isOpen(alertOf(known.record))) open.push(known);
    else if (request.withResolved) resolved.push(known);
  }
  const away = outage.known;
  if (away !== undefined && isOf(away.namespace) && view.get(away.id) === undefined) open.push(away);
  resolved.sort((a, b) => startMsOf(alertOf(b.record)) - startMsOf(alertOf(a.record)));
  const alerts = [...open, ...resolved.slice(0, MAX_RESOLVED)];
  for (const { id } of alerts) told.add(id);
  const silences = [...view.silences()].filter(
    ({ record }) => record.silence !== undefined && isShown(record.silence, request.namespace),
  );
  for (let at = 0; at < alerts.length; at += AT_A_TIME) {
    const some = alerts.slice(at, at + AT_A_TIME).map((known) => present.alert(known));
    yield create(WatchAlertsResponseSchema, { alerts: some });
  }
  yield create(WatchAlertsResponseSchema, {
    silences: silences.map((known) => present.silence(known)),
    synced: true,
  });
}

function take(set: Set<string>): string[] {
  const taken: string[] = [];
  for (const id of set) {
    if (taken.length === AT_A_TIME) break;
    taken.push(id);
    set.delete(id);
  }
  return taken;
}

function news(
  ids: readonly string[],
  silenceIds: readonly string[],
  given: Omit<AlertWatchOptions, 'watchBuffer'> & { told: Set<string>; namespace: string },
): WatchAlertsResponse {
  const { view, present, outage, told, namespace } = given;
  const response = create(WatchAlertsResponseSchema, { synced: true });
  for (const id of ids) {
    const known = view.get(id) ?? (outage.known?.id === id ? outage.known : undefined);
    if (known !== undefined) {
      told.add(id);
      response.alerts.push(present.alert(known));
    } else if (told.delete(id)) response.removedIds.push(id);
  }
  for (const id of silenceIds) {
    const known = view.silence(id);
    if (known === undefined) response.removedSilenceIds.push(id);
    else if (known.record.silence !== undefined && isShown(known.record.silence, namespace))
      response.silences.push(present.silence(known));
  }
  return response;
}

const slow = (buffer: number): DomainError =>
  new DomainError({
    reason: ErrorReason.SLOW_CONSUMER,
    message: `the watcher is more than ${buffer} alerts behind; watch again`,
    retryAfterMs: 1000,
  });
