import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { TaskAnswer, TaskCommand } from './protocol.ts';

/** A process of the bench, seen from outside. One question at a time. */
export class BenchChild {
  readonly #process: ChildProcess;
  #onOver: (count: number) => void = () => {};

  /** @param script beside this file, as built */
  constructor(script: string) {
    this.#process = fork(fileURLToPath(new URL(script, import.meta.url)), { stdio: 'inherit' });
    this.#process.on('message', (answer: TaskAnswer) => {
      if (answer.kind === 'over') this.#onOver(answer.count);
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Called whenever more tasks are over. */
  onOver(hear: (count: number) => void): void {
    this.#onOver = hear;
  }

  tell(command: TaskCommand): void {
    this.#process.send(command);
  }

  ask(command: TaskCommand): Promise<TaskAnswer> {
    return new Promise((resolve, reject) => {
      const onExit = (): void => reject(new Error('a process of the bench died'));
      const onMessage = (answer: TaskAnswer): void => {
        if (answer.kind === 'over') return;
        this.#process.off('exit', onExit);
        this.#process.off('message', onMessage);
        if (answer.kind === 'failed') reject(new Error(answer.detail));
        else resolve(answer);
      };
      this.#process.once('exit', onExit);
      this.#process.on('message', onMessage);
      this.#process.send(command);
    });
  }

  async close(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await exited;
  }
}
