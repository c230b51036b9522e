import type { Delivery } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { MessageHandler, MessageHandlers } from './message.ts';
import type { TaskHandler, TaskHandlers } from './task.ts';

/** Handlers by pattern: "a.b" is exact, "a.*" takes what begins with "a.", "*" takes all. The closest one counts. */
export class HandlerTable<H = MessageHandler> {
  readonly #byPattern = new Map<string, H[]>();

  constructor(handlers: Readonly<Record<string, H>> = {}) {
    for (const [pattern, handler] of Object.entries(handlers)) this.add(pattern, handler);
  }

  /**
   * The latest handler of a pattern counts; to take it out brings the one before back.
   * @throws RangeError on a pattern with "*" elsewhere than as its last word
   */
  add(pattern: string, handler: H): () => void {
    if (pattern === '' || /\*(?!$)|[^.]\*$/.test(pattern)) {
      throw new RangeError(`not a name, a prefix followed by ".*" or "*": "${pattern}"`);
    }
    const handlers = this.#byPattern.get(pattern) ?? [];
    handlers.push(handler);
    this.#byPattern.set(pattern, handlers);
    return () => {
      const at = handlers.lastIndexOf(handler);
      if (at >= 0) handlers.splice(at, 1);
      if (handlers.length === 0 && this.#byPattern.get(pattern) === handlers) this.#byPattern.delete(pattern);
    };
  }

  /** The handler for a name. */
  get(name: string): H | undefined {
    const exact = this.#byPattern.get(name)?.at(-1);
    if (exact !== undefined || this.#byPattern.size === 0) return exact;
    for (let dot = name.lastIndexOf('.'); dot > 0; dot = name.lastIndexOf('.', dot - 1)) {
      const found = this.#byPattern.get(`${name.slice(0, dot)}.*`)?.at(-1);
      if (found !== undefined) return found;
    }
    return this.#byPattern.get('*')?.at(-1);
  }
}

/** Who takes a message: the handler of its topic, of calls, of its type. */
export class Handlers {
  readonly messages: HandlerTable;
  /** Calls only; one without a handler here is taken like a message. */
  readonly calls: HandlerTable;
  readonly topics: HandlerTable = new HandlerTable();
  readonly tasks: HandlerTable<TaskHandler>;

  constructor(options: {
    onMessage?: MessageHandlers;
    onCall?: MessageHandlers;
    onTask?: TaskHandler | TaskHandlers;
  }) {
    const { onTask } = options;
    this.messages = new HandlerTable(options.onMessage);
    this.calls = new HandlerTable(options.onCall);
    this.tasks = new HandlerTable(typeof onTask === 'function' ? { '*': onTask } : onTask);
  }

  /** @throws RangeError as HandlerTable.add */
  onTask(...given: [handler: TaskHandler] | [pattern: string, handler: TaskHandler]): () => void {
    return given.length === 1 ? this.tasks.add('*', given[0]) : this.tasks.add(...given);
  }

  of({ item, topic, wantsAnswer }: Delivery): MessageHandler | undefined {
    if (item.case !== 'message') return undefined;
    const { type } = item.value;
    const byTopic = topic === '' ? undefined : this.topics.get(topic);
    return byTopic ?? (wantsAnswer ? this.calls.get(type) : undefined) ?? this.messages.get(type);
  }
}
