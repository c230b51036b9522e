import { useMemo } from 'preact/hooks';
import type { AgentUsage } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { Badge } from '../../components/badge.tsx';
import { type Column, type Sorting, VirtualTable } from '../../components/virtual-table.tsx';
import { count, plural, quantity } from '../../lib/format.ts';
import { href, place, setQuery } from '../../router.ts';
import { Ratio } from '../agents/columns.tsx';
import { fullness, fullTone } from './resource-bars.tsx';

/** So many resources have a column; the fullest of an agent decides its order. */
const MOST = 4;

export function AgentUsageTable({ agents }: { agents: readonly AgentUsage[] }) {
  const { query } = place.value;
  const sorting: Sorting = {
    column: query.get('sort') ?? 'fullest',
    down: (query.get('down') ?? '1') === '1',
  };
  const resources = useMemo(() => {
    const counts = new Map<string, number>();
    for (const { resources: own } of agents)
      for (const { resource } of own) counts.set(resource, (counts.get(resource) ?? 0) + 1);
    return [...counts]
      .sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]))
      .map(([name]) => name)
      .slice(0, MOST);
  }, [agents]);
  const rows = useMemo(() => sortedBy(agents, sorting), [agents, sorting.column, sorting.down]);
  const columns: Column<AgentUsage>[] = [
    {
      id: 'id',
      title: 'Agent',
      width: '22%',
      sortable: true,
      cell: ({ agentId }) => <a href={href(['agents', agentId])}>{agentId}</a>,
    },
    { id: 'zone', title: 'Zone', width: '7rem', hide: 'm', sortable: true, cell: ({ zone }) => zone || '–' },
    ...resources.map(
      (resource): Column<AgentUsage> => ({
        id: `r:${resource}`,
        title: resource,
        width: '9rem',
        sortable: true,
        cell: ({ resources: own }) => {
          const usage = own.find((each) => each.resource === resource);
          const share = usage === undefined ? undefined : fullness(usage);
          const title =
            usage === undefined
              ? undefined
              : `${quantity(resource, usage.reserved)} reserved, ${usage.used === undefined ? 'use unknown' : `${quantity(resource, usage.used)} used`}, of ${quantity(resource, usage.capacity)}`;
          return <Ratio label={resource} value={share} tone={fullTone(share)} title={title} />;
        },
      }),
    ),
    {
      id: 'tasks',
      title: 'Tasks',
      width: '5rem',
      number: true,
      sortable: true,
      cell: ({ tasks }) => count(tasks),
    },
    {
      id: 'available',
      title: 'May be given work',
      width: '24%',
      hide: 's',
      cell: ({ available, detail }) =>
        available ? (
          <Badge tone="ok" mark="check" word="yes" plain />
        ) : (
          <span title={detail}>
            <Badge tone="idle" mark="dash" word="no" plain /> <span class="muted">{detail}</span>
          </span>
        ),
    },
  ];
  return (
    <section class="usage-table" aria-label="Agents and what they have">
      <p class="result-count">{plural(agents.length, 'agent')}</p>
      <VirtualTable
        label="Agents and what they have"
        rows={rows}
        columns={columns}
        keyOf={({ agentId }) => agentId}
        sorting={sorting}
        onSort={({ column, down }) => setQuery({ sort: column, down: down ? '1' : '0' })}
      />
    </section>
  );
}

function sortedBy(agents: readonly AgentUsage[], { column, down }: Sorting): AgentUsage[] {
  const fullest = ({ resources }: AgentUsage) => Math.max(0, ...resources.map((each) => fullness(each) ?? 0));
  const key = (usage: AgentUsage): number | string => {
    if (column === 'id') return usage.agentId;
    if (column === 'zone') return usage.zone;
    if (column === 'tasks') return usage.tasks;
    const resource = column.startsWith('r:') ? column.slice(2) : undefined;
    if (resource === undefined) return fullest(usage);
    const own = usage.resources.find((each) => each.resource === resource);
    return own === undefined ? -1 : (fullness(own) ?? -1);
  };
  const sign = down ? -1 : 1;
  return agents
    .map((usage) => ({ usage, key: key(usage) }))
    .sort((a, b) =>
      a.key === b.key ? (a.usage.agentId < b.usage.agentId ? -1 : 1) : a.key < b.key ? -sign : sign,
    )
    .map(({ usage }) => usage);
}
