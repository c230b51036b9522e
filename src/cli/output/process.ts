import {
  type ProcessExit,
  type ProcessReport,
  ProcessReport_State,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { bad, dim, good, type Line, plain, strong, warn } from './text.ts';
import { formatAgo, formatDuration } from './time.ts';

/** How the process is that a supervisor reports for an agent. */
export function processWords({ state, pid, starts, restartIn }: ProcessReport): Line {
  const started = starts === 0 ? '' : `, started ${starts === 1 ? 'once' : `${starts} times`}`;
  switch (state) {
    case ProcessReport_State.RUNNING:
      return [good('runs'), plain(` as ${pid}${started}`)];
    case ProcessReport_State.BACKOFF: {
      const again =
        restartIn === undefined ? 'will be started again' : `again in ${formatDuration(restartIn)}`;
      return [warn('is down'), plain(`, ${again}${started}`)];
    }
    case ProcessReport_State.STOPPED:
      return [dim('is down'), plain(` until it is told otherwise${started}`)];
    default:
      return [plain(`is as nobody knows${started}`)];
  }
}

/** "code 1, after 3.1s": how a process ended. */
export function exitWords({ exitCode, signal, ran, requested }: ProcessExit): Line {
  const code = exitCode === undefined ? (signal === '' ? 'unknown how' : signal) : `code ${exitCode}`;
  const fine = requested || exitCode === 0;
  return [
    fine ? plain(code) : bad(code),
    plain(ran === undefined ? '' : ` after ${formatDuration(ran)}`),
    dim(requested ? ', as it was told to' : ''),
  ];
}

/** Each exit, with the last lines of the process below it. */
export function exitLines(exits: readonly ProcessExit[], nowMs: number): Line[] {
  return exits.flatMap((exit) => [
    [
      strong(`start ${exit.start}`),
      plain(exit.time === undefined ? '' : `, ${formatAgo(exit.time, nowMs)}`),
      plain(': '),
      ...exitWords(exit),
      dim(exit.lastLines.length === 0 ? ', it wrote nothing' : ''),
    ],
    ...exit.lastLines.map((line): Line => [dim('  │ '), plain(line)]),
  ]);
}
