import type { Quota } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { Until } from '../../components/age.tsx';
import { Card, Empty } from '../../components/card.tsx';
import { Meter } from '../../components/meter.tsx';
import { percent, quantity } from '../../lib/format.ts';
import { timeMs } from '../../lib/time.ts';
import { fullTone } from './resource-bars.tsx';

const share = (part: number, whole: number): number | undefined => (whole <= 0 ? undefined : part / whole);

/** What owners may have, and what of it they have. */
export function QuotaCard({ quotas }: { quotas: readonly Quota[] }) {
  return (
    <Card title="Quotas and budgets">
      {quotas.length === 0 ? (
        <Empty title="No quotas are set">Everybody may have all there is.</Empty>
      ) : (
        quotas.map((quota) => (
          <div key={quota.owner} class="quota">
            <h3>{quota.owner === '' ? 'The whole namespace' : quota.owner}</h3>
            {Object.entries(quota.hard).map(([name, limit]) => {
              const reserved = Number(quota.reserved[name] ?? 0n);
              const full = share(reserved, Number(limit));
              const soft = quota.soft[name];
              return (
                <div key={name} class="resource-row">
                  <span>{name}</span>
                  <Meter
                    label={`${name} of the quota`}
                    value={full}
                    tone={fullTone(full)}
                    mark={soft === undefined ? undefined : share(Number(soft), Number(limit))}
                  />
                  <span class="resource-number">
                    {quantity(name, reserved)} of {quantity(name, limit)}
                  </span>
                </div>
              );
            })}
            {quota.budgets.map(({ name, limit, spent, reserved, periodEndTime }) => {
              const full = share(Number(spent), Number(limit));
              return (
                <div key={name} class="resource-row">
                  <span>{name}</span>
                  <Meter
                    label={`${name} spent`}
                    value={full}
                    behind={share(Number(spent + reserved), Number(limit))}
                    tone={fullTone(full)}
                  />
                  <span class="resource-number">
                    {quantity(name, spent)} of {quantity(name, limit)}{' '}
                    <span class="muted">
                      ({percent(full)}
                      {periodEndTime !== undefined && (
                        <>
                          , anew <Until ms={timeMs(periodEndTime)} />
                        </>
                      )}
                      )
                    </span>
                  </span>
                </div>
              );
            })}
          </div>
        ))
      )}
    </Card>
  );
}
