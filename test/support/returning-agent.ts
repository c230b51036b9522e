import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type Delivery,
  type DeliveryUpdateSchema,
  type GoAway_Reason,
  OpenSessionRequestSchema,
  OpenSessionResponseSchema,
  type Welcome,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { GrpcReader, grpcHeaders, H2Client } from './h2-client.ts';

const OPEN_SESSION = '/mycosoft.orchestrator.agent.v1.SessionService/OpenSession';
/** The waits of the SDK, shorter: tests have less time. */
const BASE_MS = 250;
const CAP_MS = 4_000;

export interface ReturningAgentOptions {
  /** "host:port", of a balancer. */
  address: string;
  id: string;
  token: string;
  /** What it says of a delivery; absent or undefined: nothing. */
  answer?(
    delivery: Delivery,
    agentId: string,
  ): Promise<MessageInitShape<typeof DeliveryUpdateSchema> | undefined>;
}

/** One attachment that has ended, or the present one. */
export interface Attachment {
  epoch: bigint;
  replicaId: string;
  /** Monotonic milliseconds. */
  welcomeMs: number;
  endedMs: number | undefined;
  goAway: GoAway_Reason | undefined;
}

/**
 * An agent that is attached as long as it can be: a connection for each session, waits as they are told, with jitter
 * that doubles, and a record of where it was. A bare HTTP/2 client, so that one process holds a thousand.
 */
export class ReturningAgent {
  readonly attachments: Attachment[] = [];
  /** Connections and sessions that came to nothing. */
  failures = 0;
  /** Told not to come back. */
  dismissed = false;
  readonly #options: ReturningAgentOptions;
  readonly #first: { promise: Promise<void>; resolve: () => void };
  #client: H2Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #tries = 0;
  #closed = false;

  constructor(options: ReturningAgentOptions) {
    this.#options = options;
    let resolve = () => {};
    const promise = new Promise<void>((settle) => {
      resolve = settle;
    });
    this.#first = { promise, resolve };
    this.#run();
  }

  get id(): string {
    return this.#options.id;
  }

  /** Resolves with the first welcome. */
  get welcomed(): Promise<void> {
    return this.#first.promise;
  }

  /** The present attachment. */
  get attached(): Attachment | undefined {
    const last = this.attachments.at(-1);
    return last?.endedMs === undefined ? last : undefined;
  }

  /** The longest time that it was not attached, between two attachments, milliseconds. */
  get longestGapMs(): number {
    const gaps = this.attachments.map(({ welcomeMs }, index) => {
      const endedMs = this.attachments[index - 1]?.endedMs;
      return endedMs === undefined ? 0 : welcomeMs - endedMs;
    });
    return Math.max(0, ...gaps);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#client?.close();
  }

  #run(): void {
    const { address, token, id: agentId } = this.#options;
    const colon = address.lastIndexOf(':');
    const client = new H2Client({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)) });
    this.#client = client;
    let over = false;
    const end = (notBeforeMs = 0): void => {
      if (over) return;
      over = true;
      client.close();
      const { attached } = this;
      if (attached === undefined) this.failures += 1;
      else attached.endedMs = performance.now();
      if (this.#closed || this.dismissed) return;
      const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(this.#tries, 10));
      this.#tries += 1;
      this.#timer = setTimeout(() => this.#run(), notBeforeMs + ceiling * (0.5 + Math.random() / 2));
    };
    const reader = new GrpcReader({
      onMessage: (bytes) => {
        if (over) return;
        const { frame } = fromBinary(OpenSessionResponseSchema, bytes);
        if (frame.case === 'welcome') this.#welcome(frame.value);
        else if (frame.case === 'ping') {
          client.send(id, encode({ case: 'heartbeat', value: { echo: frame.value.echo } }));
        } else if (frame.case === 'delivery') {
          const { value } = frame;
          void this.#options.answer?.(value, agentId).then((update) => {
            if (over || update === undefined) return;
            const { work } = value;
            client.send(
              id,
              encode({
                case: 'deliveryUpdate',
                value: { ...(work === undefined ? {} : { work }), ...update },
              }),
            );
          });
        } else if (frame.case === 'goAway') {
          const { attached } = this;
          if (attached !== undefined) attached.goAway = frame.value.reason;
          const { reconnectAfter } = frame.value;
          this.dismissed = reconnectAfter === undefined;
          end(Number(reconnectAfter?.seconds ?? 0n) * 1000 + (reconnectAfter?.nanos ?? 0) / 1e6);
        }
      },
    });
    const headers = grpcHeaders(OPEN_SESSION, address, { authorization: `Bearer ${token}` });
    const hello = encode({
      case: 'hello',
      value: { instanceId: `process-${agentId}`, client: 'returning/1', maxInFlight: 1 },
    });
    const id = client.open(headers, { data: (payload) => reader.read(payload), end: () => end() }, hello);
  }

  #welcome({ epoch, replicaId }: Welcome): void {
    this.#tries = 0;
    const welcomeMs = performance.now();
    this.attachments.push({ epoch, replicaId, welcomeMs, endedMs: undefined, goAway: undefined });
    this.#first.resolve();
  }
}

function encode(frame: NonNullable<MessageInitShape<typeof OpenSessionRequestSchema>['frame']>): Uint8Array {
  return toBinary(OpenSessionRequestSchema, create(OpenSessionRequestSchema, { frame }));
}
