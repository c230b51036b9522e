import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type {
  AnswerDelays,
  CallLoad,
  CallResult,
  LoadAnswer,
  LoadCommand,
  LoadCount,
  MessageLoad,
  MessageResult,
  RegisterLoad,
  RegisterResult,
  SessionLoad,
} from './protocol.ts';

/** The load generator's process, seen from the bench. One command at a time. */
export class LoadGenerator {
  readonly #process: ChildProcess;

  constructor() {
    this.#process = fork(fileURLToPath(new URL('./worker.js', import.meta.url)), { stdio: 'inherit' });
  }

  async openSessions(load: Omit<SessionLoad, 'kind'>): Promise<void> {
    await this.#ask({ kind: 'sessions', ...load });
  }

  /** From now on answers wait; undefined: no longer. */
  async delayAnswers(delays: AnswerDelays | undefined): Promise<void> {
    await this.#ask({ kind: 'delays', ...(delays === undefined ? {} : { delays }) });
  }

  async count(): Promise<LoadCount> {
    const answer = await this.#ask({ kind: 'count' });
    if (answer.kind !== 'count') throw new Error(`unexpected answer ${answer.kind}`);
    return answer;
  }

  async register(load: Omit<RegisterLoad, 'kind'>): Promise<RegisterResult> {
    const answer = await this.#ask({ kind: 'register', ...load });
    if (answer.kind !== 'registered') throw new Error(`unexpected answer ${answer.kind}`);
    return answer;
  }

  async messages(load: Omit<MessageLoad, 'kind'>): Promise<MessageResult> {
    const answer = await this.#ask({ kind: 'messages', ...load });
    if (answer.kind !== 'sent') throw new Error(`unexpected answer ${answer.kind}`);
    return answer;
  }

  async calls(load: Omit<CallLoad, 'kind'>): Promise<CallResult> {
    const answer = await this.#ask({ kind: 'calls', ...load });
    if (answer.kind !== 'called') throw new Error(`unexpected answer ${answer.kind}`);
    return answer;
  }

  async close(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await exited;
  }

  #ask(command: LoadCommand): Promise<LoadAnswer> {
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error('the load generator died'));
      this.#process.once('exit', onExit);
      this.#process.once('message', (answer: LoadAnswer) => {
        this.#process.off('exit', onExit);
        if (answer.kind === 'failed') reject(new Error(`load generator: ${answer.detail}`));
        else resolve(answer);
      });
      this.#process.send(command);
    });
  }
}
