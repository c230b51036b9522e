import type { ResourceUsage } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { Age } from '../../components/age.tsx';
import { Badge, type Tone } from '../../components/badge.tsx';
import { Meter } from '../../components/meter.tsx';
import { count, percent, quantity } from '../../lib/format.ts';

/** How full it is: reserved or used, whichever is more, over capacity. */
export function fullness({ capacity, reserved, used }: ResourceUsage): number | undefined {
  if (capacity <= 0n) return undefined;
  return Math.max(Number(reserved), Number(used ?? 0n)) / Number(capacity);
}

export const fullTone = (share: number | undefined): Tone =>
  share === undefined ? 'idle' : share <= 0.7 ? 'ok' : share <= 0.9 ? 'warn' : 'bad';

const over = (part: bigint | undefined, whole: bigint): number | undefined =>
  part === undefined || whole <= 0n ? undefined : Number(part) / Number(whole);

/** Each resource as two bars: what is reserved, and what agents say they use. */
export function ResourceBars({ resources, at }: { resources: readonly ResourceUsage[]; at: number }) {
  return (
    <div class="resource-bars">
      {resources.map((each) => {
        const { resource, capacity, reservable, reserved, used, excess } = each;
        const share = fullness(each);
        return (
          <div key={resource} class="resource">
            <p class="resource-head">
              <strong>{resource}</strong>
              <span class={`tone-${fullTone(share)} resource-share`}>{percent(share)}</span>
            </p>
            <div class="resource-row">
              <span>reserved</span>
              <Meter
                label={`${resource} reserved`}
                value={over(reserved, capacity)}
                tone={fullTone(over(reserved, capacity))}
                mark={reservable === capacity ? undefined : over(reservable, capacity)}
              />
              <span class="resource-number">{quantity(resource, reserved)}</span>
            </div>
            <div class="resource-row">
              <span>used</span>
              <Meter
                label={`${resource} used`}
                value={over(used, capacity)}
                tone={fullTone(over(used, capacity))}
              />
              <span class="resource-number">{used === undefined ? '–' : quantity(resource, used)}</span>
            </div>
            <p class="cell-note">
              of {quantity(resource, capacity)}
              {reservable !== capacity && `, ${quantity(resource, reservable)} may be reserved`}
              {used !== undefined && (
                <>
                  {' '}
                  · {count(each.usedAgents)} told, the oldest{' '}
                  <Age at={at - each.usedAgeSeconds * 1_000} oldMs={60_000} />
                </>
              )}
            </p>
            {excess > 0n && (
              <Badge
                tone="bad"
                mark="triangle"
                word={`${quantity(resource, excess)} more reserved than may be`}
                plain
              />
            )}
          </div>
        );
      })}
    </div>
  );
}
