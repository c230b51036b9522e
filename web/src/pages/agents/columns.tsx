import { Drain_State } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Age } from '../../components/age.tsx';
import { Badge, type Tone } from '../../components/badge.tsx';
import { Meter } from '../../components/meter.tsx';
import { livenessState, phaseState } from '../../components/states.ts';
import type { Column } from '../../components/virtual-table.tsx';
import { millis, percent } from '../../lib/format.ts';
import type { AgentRow } from '../../live/agent-row.ts';
import { href } from '../../router.ts';
import { healthOf } from './sorting.ts';

export const AGENT_COLUMNS: readonly Column<AgentRow>[] = [
  {
    id: 'id',
    title: 'Agent',
    width: '19%',
    sortable: true,
    cell: ({ id, name }) => (
      <a href={href(['agents', id])} title={name === '' ? id : `${id}: ${name}`}>
        {id}
        {name !== '' && <span class="muted"> {name}</span>}
      </a>
    ),
  },
  {
    id: 'state',
    title: 'State',
    width: '9.5rem',
    sortable: true,
    cell: ({ liveness, detail }) => <Badge {...livenessState(liveness)} plain title={detail} />,
  },
  {
    id: 'phase',
    title: 'Phase',
    width: '9.2rem',
    hide: 's',
    sortable: true,
    cell: ({ phase, drain }) => (
      <Badge
        {...phaseState(phase)}
        plain
        title={drain === Drain_State.DECLINED ? 'declined to be drained' : undefined}
      />
    ),
  },
  {
    id: 'kind',
    title: 'Kind',
    width: '11%',
    hide: 'm',
    sortable: true,
    cell: ({ kind }) => <Text text={kind} />,
  },
  {
    id: 'zone',
    title: 'Zone',
    width: '8%',
    hide: 'm',
    sortable: true,
    cell: ({ zone }) => <Text text={zone} />,
  },
  {
    id: 'health',
    title: 'Health',
    width: '7.6rem',
    sortable: true,
    cell: (row) => {
      const health = healthOf(row);
      return (
        <Ratio
          label="Health"
          value={health}
          tone={healthTone(health)}
          title={row.reading?.reasons.join('\n')}
        />
      );
    },
  },
  {
    id: 'load',
    title: 'Load',
    width: '7.6rem',
    hide: 's',
    sortable: true,
    cell: ({ reading }) => <Ratio label="Load" value={reading?.load} tone={loadTone(reading?.load)} />,
  },
  {
    id: 'p50',
    title: 'RTT p50',
    width: '6rem',
    number: true,
    hide: 'm',
    sortable: true,
    cell: ({ reading }) => millis(reading?.rttP50),
  },
  {
    id: 'p95',
    title: 'RTT p95',
    width: '6rem',
    number: true,
    hide: 's',
    sortable: true,
    cell: ({ reading }) => millis(reading?.rttP95),
  },
  {
    id: 'tasks',
    title: 'Tasks',
    width: '4.6rem',
    number: true,
    hide: 'm',
    sortable: true,
    cell: ({ tasks, deliveries }) => (
      <span title={deliveries === undefined ? undefined : `${deliveries} deliveries in its mailbox`}>
        {tasks ?? '–'}
      </span>
    ),
  },
  {
    id: 'activity',
    title: 'Activity',
    width: '9%',
    hide: 'm',
    sortable: true,
    cell: ({ reading }) => <Text text={reading?.activity ?? ''} />,
  },
  {
    id: 'age',
    title: 'Reading',
    width: '6.4rem',
    number: true,
    sortable: true,
    cell: ({ reading }) => <Age at={reading?.at} />,
  },
];

function Text({ text }: { text: string }) {
  return text === '' ? <span class="muted">–</span> : <span title={text}>{text}</span>;
}

interface RatioProps {
  label: string;
  value: number | undefined;
  tone: Tone;
  title?: string | undefined;
}

export function Ratio({ label, value, tone, title }: RatioProps) {
  if (value === undefined) return <span class="muted">–</span>;
  return (
    <span class="ratio" title={title}>
      <Meter label={label} value={value} tone={tone} />
      <span class={`ratio-number${tone === 'ok' ? '' : ` tone-${tone}`}`}>{percent(value)}</span>
    </span>
  );
}

export const healthTone = (health: number | undefined): Tone =>
  health === undefined ? 'idle' : health >= 0.9 ? 'ok' : health >= 0.5 ? 'warn' : 'bad';

export const loadTone = (load: number | undefined): Tone =>
  load === undefined ? 'idle' : load <= 0.8 ? 'ok' : load < 0.95 ? 'warn' : 'bad';
