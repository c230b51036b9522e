// The process that submits tasks.
import { BullmqSubmitter } from './bullmq.ts';
import { OrchestratorSubmitter } from './orchestrator-submitter.ts';
import {
  type Moments,
  nowMs,
  type Place,
  type Submit,
  type TaskAnswer,
  type TaskCommand,
} from './protocol.ts';

/** Hands tasks to what is measured. */
export interface Submitter {
  open(): Promise<void>;
  /** Resolves when the task is acknowledged; rejects when it is refused. */
  submit(number: number): Promise<void>;
}

const TICK_MS = 2;
/** How long acknowledgements may take after the last submission. */
const PATIENCE_MS = 15_000;

let submitter: Submitter | undefined;
let over = 0;

const submitterAt = (place: Place): Submitter =>
  place.carrier === 'orchestrator' ? new OrchestratorSubmitter(place) : new BullmqSubmitter(place);

/** Numbers go on from one run to the next. */
const sent: Moments = [];
const stored: Moments = [];

async function run(to: Submitter, { window, ratePerSecond, durationMs }: Submit): Promise<TaskAnswer> {
  let failure: unknown;
  let underWay = 0;
  const send = (): void => {
    const number = sent.length;
    sent.push(nowMs());
    stored.push(Number.NaN);
    underWay += 1;
    to.submit(number).then(
      () => {
        stored[number] = nowMs();
        underWay -= 1;
      },
      (error: unknown) => {
        failure ??= error;
      },
    );
  };
  const startMs = nowMs();
  let paced = 0;
  while (nowMs() < startMs + durationMs && failure === undefined) {
    if (window > 0) {
      while (sent.length - over < window) send();
    } else {
      const due = ((nowMs() - startMs) / 1000) * ratePerSecond;
      for (; paced < due; paced += 1) send();
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  const patienceMs = nowMs() + PATIENCE_MS;
  while (underWay > 0 && failure === undefined && nowMs() < patienceMs) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  if (failure !== undefined) throw failure;
  if (underWay > 0) throw new Error(`${underWay} submissions were not answered after ${PATIENCE_MS} ms`);
  return { kind: 'submitted', sent, stored };
}

async function answer(command: TaskCommand): Promise<TaskAnswer | undefined> {
  switch (command.kind) {
    case 'open-submitter':
      submitter = submitterAt(command);
      await submitter.open();
      return { kind: 'ready' };
    case 'over':
      over = command.count;
      return undefined;
    case 'submit':
      if (submitter === undefined) throw new Error('nothing is open');
      return run(submitter, command);
    default:
      throw new Error(`a submitter does not know ${command.kind}`);
  }
}

process.on('message', (command: TaskCommand) => {
  answer(command).then(
    (reply) => reply && process.send?.(reply),
    (error: unknown) => process.send?.({ kind: 'failed', detail: `submitter: ${String(error)}` }),
  );
});
process.on('disconnect', () => process.exit(0));
