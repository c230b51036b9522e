import { type JsonObject, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type { Command, Delivery } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { DeliveryDesk } from './deliveries.ts';
import type { DeliveryControls, DeliveryHandler } from './delivery.ts';
import { prose } from './text.ts';
import { sleep, toMs } from './time.ts';

/** An order from an operator or a policy, or a notice. */
export interface AgentCommand {
  /** "drain", "resume", "stop", "restart", "quarantine", "dependency_lost", "dependency_recovered" or one of your own. */
  readonly type: string;
  /** As documented at Command in session_service.proto; empty if there are none. */
  readonly arguments: JsonObject;
  /** `arguments.reason`, or empty. */
  readonly reason: string;
  /** What was left of its deadline when it came, in milliseconds; undefined: it has none. */
  readonly timeLeftMs: number | undefined;
  /** All of it. */
  readonly delivery: Delivery;
}

/** What a handler can do with a command. */
export interface CommandControls extends DeliveryControls {
  /**
   * Accepts with what still runs, resolves when nothing does, and tells between as it shrinks. What runs are the
   * messages and tasks that this agent holds, and what `others` names, which is looked at every second. Rejects
   * when the command is taken back.
   */
  drained(others?: () => readonly string[]): Promise<void>;
}

/**
 * Carries a command out. To return is to succeed, unless `controls` gave another outcome; to throw is to decline, or
 * to fail once it was accepted. Anything that takes long should be accepted first. A command that is delivered
 * again while it is carried out is not handed over twice.
 */
export type CommandHandler = (command: AgentCommand, controls: CommandControls) => Promise<void> | void;

/** Handlers by the command's type. What has none is done as said here; a type of your own without one is declined. */
export interface CommandHandlers {
  /** Finish work, take no more. Default: `controls.drained()`. */
  readonly drain?: CommandHandler;
  /** Work may come again. Default: succeeds. */
  readonly resume?: CommandHandler;
  /** Finish and end. Default: `controls.drained()`. Once it has succeeded, the agent leaves and closes. */
  readonly stop?: CommandHandler;
  /** Restart the process of `arguments.agent_id`. Default: declined. */
  readonly restart?: CommandHandler;
  /** Set aside: no work comes. Default: succeeds. */
  readonly quarantine?: CommandHandler;
  /** An agent that this one depends on was lost, or is back. Default: succeeds, as a notice that was read. */
  readonly dependency_lost?: CommandHandler;
  readonly dependency_recovered?: CommandHandler;
  readonly [type: string]: CommandHandler | undefined;
}

/** Between two looks at what still runs, so that many small ends make few updates. Milliseconds. */
const lookEveryMs = 1_000;

const read: CommandHandler = () => {};
const drained: CommandHandler = (_, controls) => controls.drained();
const defaults: ReadonlyMap<string, CommandHandler> = new Map([
  ['drain', drained],
  ['resume', read],
  ['stop', drained],
  ['quarantine', read],
  ['dependency_lost', read],
  ['dependency_recovered', read],
]);

/** The handler of a desk's commands. */
export function commandHandler(options: {
  handlers: CommandHandlers;
  /** Whose work a drain waits for. */
  desk: () => Pick<DeliveryDesk, 'running' | 'change'>;
  /** It was told to take no more work, or that it may again. */
  onDrain: (draining: boolean) => void;
  /** A "stop" is being told as succeeded: from now on the end is wanted. */
  onStopping: () => void;
  /** A "stop" has succeeded: time to say goodbye, for that reason. */
  onStopped: (reason: string) => void;
}): DeliveryHandler {
  return async (delivery, given) => {
    if (delivery.item.case !== 'command') return;
    const command = commandOf(delivery, delivery.item.value);
    const { type } = command;
    const own = Object.hasOwn(options.handlers, type) ? options.handlers[type] : undefined;
    const handler = own ?? defaults.get(type);
    if (handler === undefined) return given.decline(`this agent does not know the command "${type}"`);
    const { controls, outcome } = watched(given);
    const drains = type === 'drain' || type === 'stop';
    if (drains || type === 'resume') options.onDrain(drains);
    await handler(command, { ...controls, drained: (others) => wait(controls, options.desk(), others) });
    if (drains && outcome() === 'declined') options.onDrain(false);
    if (type !== 'stop' || (outcome() !== undefined && outcome() !== 'succeeded')) return;
    options.onStopping();
    if (outcome() === undefined && !given.signal.aborted) await given.succeed().catch(() => {});
    options.onStopped(prose(`told to stop${command.reason === '' ? '' : `: ${command.reason}`}`, 1_024));
  };
}

function commandOf(delivery: Delivery, { type, arguments: payload }: Command): AgentCommand {
  const value = payload?.data.case === 'json' ? toJson(ValueSchema, payload.data.value) : undefined;
  const given = typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
  return {
    type,
    arguments: given,
    reason: typeof given.reason === 'string' ? given.reason : '',
    timeLeftMs: toMs(delivery.timeLeft),
    delivery,
  };
}

type OutcomeName = 'succeeded' | 'declined' | 'failed';

/** The same controls, and which outcome was given by them. */
function watched(given: DeliveryControls): {
  controls: DeliveryControls;
  outcome: () => OutcomeName | undefined;
} {
  let outcome: OutcomeName | undefined;
  const note = <Args extends unknown[]>(name: OutcomeName, tell: (...args: Args) => Promise<void>) => {
    return (...args: Args) => {
      outcome ??= name;
      return tell(...args);
    };
  };
  const controls = {
    ...given,
    succeed: note('succeeded', given.succeed),
    decline: note('declined', given.decline),
    fail: note('failed', given.fail),
  };
  return { controls, outcome: () => outcome };
}

async function wait(
  controls: DeliveryControls,
  desk: Pick<DeliveryDesk, 'running' | 'change'>,
  others: (() => readonly string[]) | undefined,
): Promise<void> {
  const { signal } = controls;
  let told: string | undefined;
  for (;;) {
    const running = [...(others?.() ?? []), ...desk.running()];
    const now = running.join('\n');
    if (running.length === 0 && told === undefined) return; // the outcome says it all
    if (now !== told) await controls.accept({ running });
    told = now;
    signal.throwIfAborted();
    if (running.length === 0) return;
    const looked = new AbortController();
    const either = AbortSignal.any([signal, looked.signal]);
    const pause = sleep(lookEveryMs, either);
    if (others !== undefined) await pause;
    // What ended while the service was told is no change any more.
    else if (desk.running().length === running.length) await desk.change(either);
    // Without others the end of the last work is told at once, the rest at the pace.
    if (desk.running().length > 0) await pause;
    looked.abort();
    signal.throwIfAborted();
  }
}
