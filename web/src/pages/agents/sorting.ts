import {
  Agent_Liveness as Liveness,
  Agent_Phase as Phase,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentRow } from '../../live/agent-row.ts';

/** As VirtualTable has it. */
interface Sorting {
  column: string;
  down: boolean;
}

/** What calls for somebody first. */
const URGENCY: readonly Liveness[] = [
  Liveness.LOST,
  Liveness.DISCONNECTED,
  Liveness.SUSPECT,
  Liveness.CONNECTED,
  Liveness.NEVER_SEEN,
  Liveness.LEFT,
];

/** Its health; of those that nobody expects to be there there is none. */
export function healthOf({ liveness, phase, reading }: AgentRow): number | undefined {
  const isAway = liveness === Liveness.LEFT || liveness === Liveness.NEVER_SEEN;
  return isAway || phase === Phase.STOPPED ? undefined : reading?.health;
}

type Key = (row: AgentRow) => number | string | undefined;

const KEYS: Readonly<Record<string, Key>> = {
  state: ({ liveness }) => URGENCY.indexOf(liveness),
  phase: ({ phase }) => phase,
  kind: ({ kind }) => kind,
  zone: ({ zone }) => zone,
  health: healthOf,
  load: ({ reading }) => reading?.load,
  p50: ({ reading }) => reading?.rttP50,
  p95: ({ reading }) => reading?.rttP95,
  tasks: ({ tasks }) => tasks,
  activity: ({ reading }) => reading?.activity,
  age: ({ reading }) => (reading === undefined ? undefined : -reading.at),
};

const SOFT: ReadonlySet<string> = new Set(['health', 'load', 'p50', 'p95', 'age', 'tasks']);

/** Whether the order moves with each reading. */
export const isSoft = ({ column }: Sorting): boolean => SOFT.has(column);

/** By the column, then by id ("web-2" before "web-10"); what has no value comes last. */
export function sorted(rows: AgentRow[], { column, down }: Sorting): AgentRow[] {
  const key = KEYS[column];
  const sign = down ? -1 : 1;
  if (key === undefined) return rows.sort((a, b) => (a.sortKey < b.sortKey ? -sign : sign));
  return rows.sort((a, b) => {
    const left = key(a);
    const right = key(b);
    if (left === right) return a.sortKey < b.sortKey ? -1 : 1;
    if (left === undefined || left === '') return 1;
    if (right === undefined || right === '') return -1;
    return left < right ? -sign : sign;
  });
}
