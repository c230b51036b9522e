import { computed } from '@preact/signals';
import { Alert_State } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { alerts } from './live.ts';

/** Alerts that call for somebody: firing, not silenced and not explained by another one. */
export const firingAlerts = computed(() =>
  alerts
    .list()
    .filter(
      ({ state, groupedUnder, silenceIds }) =>
        state === Alert_State.FIRING && groupedUnder === '' && silenceIds.length === 0,
    )
    .sort(
      (a, b) => b.severity - a.severity || Number((b.fireTime?.seconds ?? 0n) - (a.fireTime?.seconds ?? 0n)),
    ),
);

export const firingCount = computed(() => firingAlerts.value.length);
