import { type ConnectionOptions, Queue, Worker } from 'bullmq';
import type { OpenWorkers, Place } from './protocol.ts';
import type { Submitter } from './submitter.ts';
import type { Workers, WorkListener } from './workers.ts';

const QUEUE = 'bench';

function connectionTo({ address }: Place): ConnectionOptions {
  const colon = address.lastIndexOf(':');
  return {
    host: address.slice(0, colon),
    port: Number(address.slice(colon + 1)),
    maxRetriesPerRequest: null,
  };
}

/** Adds jobs one by one over one connection, on which ioredis does not wait for answers. */
export class BullmqSubmitter implements Submitter {
  readonly #queue: Queue<{ number: number }>;

  constructor(place: Place) {
    this.#queue = new Queue(QUEUE, { connection: connectionTo(place) });
  }

  async open(): Promise<void> {
    await this.#queue.waitUntilReady();
  }

  async submit(number: number): Promise<void> {
    await this.#queue.add('noop', { number });
  }
}

/** Workers as BullMQ makes them: each with its own connections, and its settings as they are by default. */
export class BullmqWorkers implements Workers {
  readonly #load: OpenWorkers;

  constructor(load: OpenWorkers) {
    this.#load = load;
  }

  async open(listener: WorkListener): Promise<void> {
    const { workers, slots: concurrency } = this.#load;
    for (let index = 0; index < workers; index += 1) {
      const worker = new Worker<{ number: number }>(
        QUEUE,
        async ({ data }) => {
          // A handler begins once Redis has the job as active: both moments are one.
          listener.began(data.number);
          listener.running(data.number);
        },
        { connection: connectionTo(this.#load), concurrency },
      );
      worker.on('completed', ({ data }) => listener.over(data.number));
      worker.on('failed', (_job, error) => listener.failed(error.message));
      worker.on('error', (error) => listener.failed(error.message));
      await worker.waitUntilReady();
    }
  }
}
