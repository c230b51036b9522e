import { connect, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';
import { type Address, tlsTo } from './target.ts';

/** Where to connect next, or why that is not known. */
export type Locate = () => Address | Error;

type Connector = NonNullable<RedisOptions['Connector']>;

/** For ioredis: asks anew for each attempt where to go, so that a reconnect finds a server that has moved. */
export function connectorFor(options: { locate: Locate; tls: boolean }): Connector {
  return class extends AbstractConnector {
    constructor() {
      super(0);
    }

    async connect(): Promise<Socket> {
      this.connecting = true;
      // As ioredis' own connector: whoever made it wants to listen first.
      await new Promise((resolve) => process.nextTick(resolve));
      if (!this.connecting) throw new Error('closed');
      this.stream = this.#open();
      return this.stream;
    }

    #open(): Socket {
      delete this.firstError;
      const found = options.locate();
      if (found instanceof Error) {
        // A connector that throws is never asked again; one whose stream is broken is.
        this.firstError = found;
        return new Socket().destroy();
      }
      const socket = options.tls ? connectTls({ ...found, ...tlsTo(found) }) : connect(found);
      socket.once('error', (error) => {
        this.firstError = error;
      });
      return socket;
    }
  };
}
