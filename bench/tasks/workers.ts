// The process that carries tasks out: agents of the orchestrator, or workers of BullMQ.
import { BullmqWorkers } from './bullmq.ts';
import { OrchestratorAgents } from './orchestrator-agents.ts';
import { type Moments, nowMs, type OpenWorkers, type TaskAnswer, type TaskCommand } from './protocol.ts';

/** Take tasks from what is measured; each is nothing to do. */
export interface Workers {
  open(listener: WorkListener): Promise<void>;
}

/** What becomes of task `number`. */
export interface WorkListener {
  /** Its handler begins. */
  began(number: number): void;
  /** It is stored that it runs. */
  running(number: number): void;
  /** It is stored that it is done. */
  over(number: number): void;
  failed(why: string): void;
}

const TELL_MS = 2;

const workersFor = (load: OpenWorkers): Workers =>
  load.carrier === 'orchestrator' ? new OrchestratorAgents(load) : new BullmqWorkers(load);

const began: Moments = [];
const running: Moments = [];
let over = 0;
let told = 0;
let failure: string | undefined;

const listener: WorkListener = {
  began: (number) => {
    if (began[number] !== undefined) failure ??= `task ${number} began twice`;
    began[number] = nowMs();
  },
  running: (number) => {
    running[number] = nowMs();
  },
  over: () => {
    over += 1;
  },
  failed: (why) => {
    failure ??= why;
  },
};

async function answer(command: TaskCommand): Promise<TaskAnswer> {
  if (failure !== undefined) throw new Error(failure);
  switch (command.kind) {
    case 'open-workers':
      await workersFor(command).open(listener);
      setInterval(() => {
        if (over === told) return;
        told = over;
        process.send?.({ kind: 'over', count: over });
      }, TELL_MS);
      return { kind: 'ready' };
    case 'times':
      return { kind: 'times', began, running };
    default:
      throw new Error(`workers do not know ${command.kind}`);
  }
}

process.on('message', (command: TaskCommand) => {
  answer(command).then(
    (reply) => process.send?.(reply),
    (error: unknown) => process.send?.({ kind: 'failed', detail: `workers: ${String(error)}` }),
  );
});
process.on('disconnect', () => process.exit(0));
