import type { ZoneUsage } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { Card, Empty } from '../../components/card.tsx';
import { ScrollX } from '../../components/scroll-x.tsx';
import { count, quantity } from '../../lib/format.ts';
import { href } from '../../router.ts';
import { Ratio } from '../agents/columns.tsx';
import { fullness, fullTone } from './resource-bars.tsx';

/** A row for each zone, a column for each resource. */
export function ZoneUsageTable({ zones }: { zones: readonly ZoneUsage[] }) {
  const resources = [
    ...new Set(zones.flatMap(({ resources: own }) => own.map(({ resource }) => resource))),
  ].sort();
  return (
    <Card title="Zones" flush>
      {zones.length === 0 || resources.length === 0 ? (
        <Empty title="Nothing to share out by zones" />
      ) : (
        <ScrollX label="Zones">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">Zone</th>
                <th scope="col" class="number">
                  Agents
                </th>
                {resources.map((resource) => (
                  <th key={resource} scope="col">
                    {resource}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {zones.map(({ zone, agents, resources: own }) => (
                <tr key={zone}>
                  <th scope="row" class="nowrap">
                    {zone === '' ? (
                      <span class="muted">no zone</span>
                    ) : (
                      <a href={href(['agents'], { zone })}>{zone}</a>
                    )}
                  </th>
                  <td class="number">{count(agents)}</td>
                  {resources.map((resource) => {
                    const usage = own.find((each) => each.resource === resource);
                    const share = usage === undefined ? undefined : fullness(usage);
                    const title =
                      usage === undefined
                        ? undefined
                        : `${quantity(resource, usage.reserved)} reserved of ${quantity(resource, usage.capacity)}`;
                    return (
                      <td key={resource} class="ratio-cell">
                        <Ratio label={resource} value={share} tone={fullTone(share)} title={title} />
                      </td>
                    );
                  })}
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollX>
      )}
    </Card>
  );
}
