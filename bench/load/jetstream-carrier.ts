import { AckPolicy, jetstream, jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { MessageLoad } from './protocol.ts';
import type { Carrier, CarrierListener } from './traffic.ts';

const STREAM = 'BENCH';
const NUMBER = 'n';

/** The same through NATS JetStream: a subject and a consumer with explicit acknowledgement for each receiver. */
export class JetStreamCarrier implements Carrier {
  readonly #load: MessageLoad;
  readonly #connections: NatsConnection[] = [];
  #publish: (number: number, sender: number, receiver: number) => void = () => {};
  #closing = false;

  constructor(load: MessageLoad) {
    this.#load = load;
  }

  async open(listener: CarrierListener): Promise<void> {
    const { address, pairs, payloadBytes } = this.#load;
    const open = async (): Promise<NatsConnection> => {
      const connection = await connect({ servers: address });
      this.#connections.push(connection);
      return connection;
    };
    const manager = await jetstreamManager(await open());
    await manager.streams.add({ name: STREAM, subjects: ['to.*'], storage: StorageType.File });
    const fail = (error: unknown): void => {
      if (!this.#closing) listener.failed(String(error));
    };
    for (let index = 0; index < pairs; index += 1) {
      const name = `receiver-${index}`;
      await manager.consumers.add(STREAM, {
        durable_name: name,
        filter_subject: `to.${index}`,
        ack_policy: AckPolicy.Explicit,
        max_ack_pending: 256,
      });
      const consumer = await jetstream(await open()).consumers.get(STREAM, name);
      const messages = await consumer.consume({ max_messages: 256 });
      void (async () => {
        for await (const message of messages) {
          const number = Number(Buffer.from(message.data.subarray(0, 9)).toString('latin1'));
          listener.received(number);
          // Waits for the server to say that it has it, as the orchestrator's result does.
          message.ackAck().then((ok) => {
            if (ok) listener.acknowledged(number);
            else fail('an acknowledgement was refused');
          }, fail);
        }
      })().catch(fail);
    }
    const senders = await Promise.all(Array.from({ length: pairs }, async () => jetstream(await open())));
    const rest = Buffer.alloc(payloadBytes, 'x');
    this.#publish = (number, sender, receiver) => {
      const data = Buffer.from(rest);
      data.write(String(number).padStart(9, '0'), 0, 'latin1');
      senders[sender]
        ?.publish(`to.${receiver}`, data, { msgID: `${NUMBER}${number}` })
        .then(() => listener.stored(number), fail);
    };
  }

  send(number: number, sender: number, receiver: number): void {
    this.#publish(number, sender, receiver);
  }

  async close(): Promise<void> {
    this.#closing = true;
    for (const connection of this.#connections) await connection.close();
  }
}
