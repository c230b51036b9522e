import { randomUUID } from 'node:crypto';
import { basename } from 'node:path';
import type { Writable } from 'node:stream';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AgentSpecSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { createGrpcTransport } from '../client/grpc-transport.ts';
import type { TlsOptions } from '../client/index.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { packageVersion } from '../lib/version.ts';
import { Attachment } from './attachment.ts';
import { Keeper } from './keeper.ts';
import { type OnDependencyLost, ordersFor } from './orders.ts';
import { AlreadySupervised, type LeftBehind, PidFile } from './pid-file.ts';
import type { RestartPolicy } from './policy.ts';
import { reportOf } from './report.ts';
import { CannotStart, clearGroup, groupOf, type Run, startRun } from './run.ts';
import { Sampler } from './sampler.ts';
import { superviseSignals } from './signals.ts';
import { TaskPipe } from './task-pipe.ts';
import { type Identity, readIdentity, writeIdentity } from './token-file.ts';

export interface SuperviseOptions {
  /** The program and its arguments. */
  command: readonly string[];
  /** As `connectAgent` takes it. */
  server: string;
  tls: TlsOptions | undefined;
  namespace: string;
  /** Empty: the service makes one. */
  id: string;
  /** A token from elsewhere; one in the token file passes before it. */
  token: string | undefined;
  tokenFile: string | undefined;
  pidFile: string | undefined;
  takeover: boolean;
  spec: MessageInitShape<typeof AgentSpecSchema>;
  policy: RestartPolicy;
  stopTimeoutMs: number;
  drainSignal: NodeJS.Signals;
  quarantineStops: boolean;
  onDependencyLost: OnDependencyLost;
  /** Agents that the program registers itself as: an order to restart them is for it. */
  programAgents: readonly string[];
  /** It is handed tasks, so many at a time; undefined: none. */
  taskSlots?: number | undefined;
  /** How many of its last lines are reported. */
  keepLines: number;
  stdout: Writable;
  stderr: Writable;
  /** Whether the end of a terminal (SIGHUP) is meant for the supervisor too. */
  onTerminal: boolean;
  /** One line for people. */
  note: (text: string) => void;
  /** Ends this process although output waits that nobody reads. */
  abandon: (exitCode: number) => void;
}

/** A fault in what was asked for: nothing was started. */
export class CannotSupervise extends Error {
  override readonly name = 'CannotSupervise';
}

/** What a run before this one wrote is offered no longer than this to a reader that does not take it. */
const previousTailMs = 60_000;
/** Told to end, it waits no longer than this for a reader that does not take the program's last output. */
const toldTailMs = 2_000;
/** After the end of the program, the service gets so long to take the goodbye. */
const goodbyeMs = 10_000;

/** Runs the program until it has ended for good. Resolves to the exit code. Rejects with CannotSupervise. */
export async function supervise(options: SuperviseOptions): Promise<number> {
  const clock = systemClock;
  const program = basename(options.command[0] ?? '');
  const note = (text: string) => options.note(`${program} ${text}`);
  const identity = identityOf(options);
  const pidFile = options.pidFile === undefined ? undefined : new PidFile(options.pidFile);
  const left = await claim(pidFile);
  await endLeftBehind(left, options, clock, note);

  let last: Run | undefined;
  const sampler = new Sampler({ clock });
  const tasks =
    options.taskSlots === undefined ? undefined : new TaskPipe({ note, cancelWaitMs: options.stopTimeoutMs });
  const keeper: Keeper = new Keeper({
    start: async () => {
      const previous = last;
      last = await startRun({ ...options, tasks, clock });
      if (tasks !== undefined) void last.ended.then((end) => tasks.ended(end));
      sampler.follow(last.pid);
      void previous?.finish(previousTailMs);
      return last;
    },
    policy: options.policy,
    stopTimeoutMs: options.stopTimeoutMs,
    drainSignal: options.drainSignal,
    hold: left.hold,
    clock,
    random: Math.random,
    onChange: () => {
      const { pid, hold } = keeper.state;
      if (pid === 0) sampler.follow(undefined);
      pidFile?.note(pid, hold, (error) => note(`has no pid file: ${wordsOf(error)}`));
      attachment?.changed();
    },
    note,
  });
  let attachment: Attachment | undefined;
  const signals = superviseSignals({
    keeper,
    stopTimeoutMs: options.stopTimeoutMs,
    onTerminal: options.onTerminal,
    note,
    hurry: () => void attachment?.close(),
  });
  try {
    await keeper.begin();
    if (left.hold !== undefined)
      note(`is held down (${left.hold}) since before: it starts when it is resumed`);
    attachment = attach({ options, identity, keeper, program, note, sampler, tasks });
    const end = await keeper.done;
    sampler.follow(undefined);
    // Told by the service, the agent says that it is done and leaves by itself.
    const ordered = end.why === 'told' && signals.said() === undefined;
    if (!ordered || !(await within(attachment.over, goodbyeMs))) {
      await attachment.leave(leaveReason(end.why, signals.said()));
    }
    const taken = await last?.finish(end.why === 'told' ? toldTailMs : undefined);
    if (taken === false) {
      await pidFile?.release();
      options.abandon(end.exitCode);
    }
    return end.exitCode;
  } catch (error) {
    if (!(error instanceof CannotStart)) throw error;
    options.note(error.message);
    return error.exitCode;
  } finally {
    keeper.kill(); // after a fault of this code; else nothing runs by now
    await pidFile?.release();
    signals.release();
  }
}

function identityOf({ tokenFile, namespace, id, token }: SuperviseOptions): Identity {
  const wanted = { namespace: namespace || 'default', id };
  try {
    const kept = tokenFile === undefined ? undefined : readIdentity(tokenFile, wanted);
    return { ...wanted, ...kept, token: kept?.token ?? token };
  } catch (error) {
    throw new CannotSupervise(`--token-file: ${wordsOf(error)}`);
  }
}

async function claim(pidFile: PidFile | undefined): Promise<LeftBehind> {
  try {
    return (await pidFile?.claim()) ?? { pid: undefined, hold: undefined };
  } catch (error) {
    const what = error instanceof AlreadySupervised ? '' : '--pid-file: ';
    throw new CannotSupervise(`${what}${wordsOf(error)}`);
  }
}

/** A program that outlived its supervisor is ended, so that it does not run twice. */
async function endLeftBehind(
  { pid }: LeftBehind,
  { stopTimeoutMs }: SuperviseOptions,
  clock: Clock,
  note: (text: string) => void,
): Promise<void> {
  if (pid === undefined) return;
  note(`still runs under a supervisor that is gone (pid ${pid}): it is ended first`);
  const group = groupOf(pid);
  await clearGroup(group, { clock, stopTimeoutMs });
  if (await group.groupLives()) throw new CannotSupervise(`process ${pid} cannot be ended`);
}

function attach(parts: {
  options: SuperviseOptions;
  identity: Identity;
  keeper: Keeper;
  program: string;
  note: (text: string) => void;
  sampler: Sampler;
  tasks: TaskPipe | undefined;
}): Attachment {
  const { options, identity, keeper, program, note, sampler, tasks } = parts;
  const { server, tls, tokenFile, stopTimeoutMs, programAgents, taskSlots = 1 } = options;
  let written = '';
  const attachment: Attachment = new Attachment({
    createTransport: () => createGrpcTransport({ server, tls }),
    identity,
    takeover: options.takeover,
    spec: options.spec,
    instanceId: randomUUID(),
    client: `orchestrator-supervise/${packageVersion()}`,
    report: () => reportOf(keeper.state, sampler.usage()),
    onCommand: ordersFor({
      keeper,
      isMine: (agentId) => agentId === attachment.id || programAgents.includes(agentId),
      program,
      stopTimeoutMs,
      quarantineStops: options.quarantineStops,
      onDependencyLost: options.onDependencyLost,
      takesTasks: tasks !== undefined,
    }),
    tasks: tasks && { onTask: tasks.handle, declineTask: tasks.declines, concurrency: taskSlots },
    random: Math.random,
    onAttached: (attached) => {
      const text = JSON.stringify(attached);
      if (tokenFile === undefined || text === written) return;
      written = text;
      try {
        writeIdentity(tokenFile, attached);
      } catch (error) {
        note(`keeps no token: ${wordsOf(error)}`);
      }
    },
    onStopped: () => {
      note('was stopped by an operator, and is ended; once it is resumed it may run again');
      void keeper.stop({ signal: 'SIGTERM', timeoutMs: stopTimeoutMs, exitCode: 0 });
    },
    note,
  });
  return attachment;
}

function leaveReason(why: string, signal: NodeJS.Signals | undefined): string {
  if (signal !== undefined) return `the supervisor got ${signal}`;
  return why === 'restarts_used_up' ? 'the program keeps failing: no restart is left' : 'the program is done';
}

/** Whether a promise resolves in time. */
async function within(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
