import { ProcessReport_State } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentReport } from '../client/index.ts';
import { durationFromMs } from '../lib/proto-time.ts';
import type { KeeperState } from './keeper.ts';
import type { Usage } from './usage.ts';

/** Lines of exits before the last one: a report travels again whenever something in it changed. */
const olderLines = 5;

const states = {
  running: ProcessReport_State.RUNNING,
  backoff: ProcessReport_State.BACKOFF,
  stopped: ProcessReport_State.STOPPED,
} as const;

/** What the agent says of its program. `usage` is undefined when nothing runs or the reading is old. */
export function reportOf(state: KeeperState, usage: Usage | undefined): AgentReport {
  const { phase, pid, starts, exits, restartInMs } = state;
  return {
    activity: phase,
    usage: usage === undefined ? {} : { cpu_milli: usage.cpuMilli, memory_bytes: usage.memoryBytes },
    process: {
      state: states[phase],
      pid,
      starts,
      exits: exits.map((exit, index) => ({
        start: exit.start,
        ...(exit.exitCode === undefined ? {} : { exitCode: exit.exitCode }),
        signal: exit.signal,
        ran: durationFromMs(exit.ranMs),
        requested: exit.requested,
        lastLines: index === exits.length - 1 ? exit.lines : exit.lines.slice(-olderLines),
      })),
      ...(restartInMs === undefined ? {} : { restartIn: durationFromMs(restartInMs) }),
    },
  };
}
