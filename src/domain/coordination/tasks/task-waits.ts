import type { KnownTask } from './task-record.ts';
import type { TaskView } from './task-view.ts';

/** Callers of this replica that wait for something to become of a task: however many wait, one listener hears of the changes. */
export class TaskWaits {
  readonly #tasks: TaskView;
  readonly #waiters = new Map<string, Set<() => void>>();

  constructor(options: { tasks: TaskView }) {
    this.#tasks = options.tasks;
    options.tasks.listen({
      changed: (before, after) => {
        const known = after ?? before;
        if (known !== undefined && this.#waiters.size > 0) this.#wake(`${known.namespace}/${known.id}`);
      },
      replaced: (namespace) => {
        for (const key of [...this.#waiters.keys()]) if (key.startsWith(`${namespace}/`)) this.#wake(key);
      },
    });
  }

  /** Tasks that somebody waits for. */
  get size(): number {
    return this.#waiters.size;
  }

  /**
   * Looks now and at each change of the task, until `isEnough`. True: it was; false: not within `ms`, or the signal fired.
   * @param isEnough given what the view shows; what it throws is thrown here
   */
  async until(
    { namespace, id }: Pick<KnownTask, 'namespace' | 'id'>,
    isEnough: (known: KnownTask | undefined) => boolean,
    ms: number,
    signal?: AbortSignal,
  ): Promise<boolean> {
    if (isEnough(this.#tasks.get(namespace, id))) return true;
    if (signal?.aborted === true || ms <= 0) return false;
    const key = `${namespace}/${id}`;
    return new Promise<boolean>((resolve, reject) => {
      const waiters = this.#waiters.get(key) ?? new Set<() => void>();
      this.#waiters.set(key, waiters);
      const end = (): void => {
        waiters.delete(look);
        if (waiters.size === 0 && this.#waiters.get(key) === waiters) this.#waiters.delete(key);
        clearTimeout(timer);
        signal?.removeEventListener('abort', late);
      };
      const look = (): void => {
        try {
          if (!isEnough(this.#tasks.get(namespace, id))) return;
          end();
          resolve(true);
        } catch (error) {
          end();
          reject(error);
        }
      };
      const late = (): void => {
        end();
        resolve(false);
      };
      const timer = setTimeout(late, ms);
      signal?.addEventListener('abort', late, { once: true });
      waiters.add(look);
    });
  }

  #wake(key: string): void {
    for (const look of [...(this.#waiters.get(key) ?? [])]) look();
  }
}
