import { AgentCalls } from './calls.ts';
import { cancelled } from './errors.ts';
import { createGrpcTransport } from './grpc-transport.ts';
import { Tasks } from './tasks.ts';
import type { TlsOptions } from './transport.ts';

export interface ClientOptions {
  /** Where the gRPC listener is: "host:port", "http://host:port", or "https://host:port" for TLS. */
  server: string;
  /** TLS material; giving it turns TLS on. */
  tls?: TlsOptions;
  /** Default "default". */
  namespace?: string;
  /** How long a call may take; default 10 s. */
  timeoutMs?: number;
}

/** For programs that are no agents. */
export interface Client extends Disposable {
  readonly tasks: Tasks;
  /** Ends what is under way. */
  close(): void;
}

/**
 * A client of the service, on one connection that is made when it is needed, and again when it broke.
 *
 *     const client = createClient({ server: '127.0.0.1:50051' });
 *     const { id } = await client.tasks.submit({ capability: 'resize', input: { width: 100 } });
 *     const { state, output } = await client.tasks.wait(id);
 */
export function createClient(options: ClientOptions): Client {
  const { server, tls, namespace = 'default', timeoutMs = 10_000 } = options;
  const transport = createGrpcTransport({ server, tls });
  const calls = new AgentCalls({ timeoutMs });
  calls.attached({ transport, token: undefined, epoch: 0n });
  const close = (): void => {
    calls.close(cancelled('the client was closed'));
    transport.close();
  };
  return { tasks: new Tasks({ calls, namespace }), close, [Symbol.dispose]: close };
}
