/** Request messages of one bidirectional call, as an async iterable that asks for one message at a time. */
export class RequestQueue implements AsyncIterable<Uint8Array> {
  readonly #read: () => void;
  #messages: Uint8Array[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  /** `read` asks the transport for one more message. */
  constructor(read: () => void) {
    this.#read = read;
  }

  push(message: Uint8Array): void {
    this.#messages.push(message);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) {
        yield message;
        continue;
      }
      if (this.#ended) return;
      const news = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#read();
      await news;
    }
  }
}
