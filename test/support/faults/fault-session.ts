import type { MessageInitShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type ClientDuplexStream, type Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import {
  type Delivery,
  GoAway_ReasonSchema,
  type HelloSchema,
  type OpenSessionRequest,
  OpenSessionRequestSchema,
  type OpenSessionResponse,
  OpenSessionResponseSchema,
  type Result,
  type Revoke,
  type Welcome,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';

/** What a session tells its agent. */
export interface SessionListener {
  welcomed(session: FaultSession, welcome: Welcome): void;
  delivered(session: FaultSession, delivery: Delivery): void;
  answered(session: FaultSession, result: Result): void;
  revoked(session: FaultSession, revoke: Revoke): void;
  over(session: FaultSession): void;
}

export interface FaultSessionOptions {
  channel: GrpcClient;
  token: string;
  hello: MessageInitShape<typeof HelloSchema>;
  /** Silence after which the agent looks elsewhere, milliseconds. */
  patienceMs: number;
  listener: SessionListener;
}

const PATH = '/mycosoft.orchestrator.agent.v1.SessionService/OpenSession';

/** One stream, ended by whoever loses patience first. */
export class FaultSession {
  epoch = 0n;
  replicaId = '';
  over = false;
  /** Why, for people. */
  ending = '';
  readonly #options: FaultSessionOptions;
  readonly #stream: ClientDuplexStream<OpenSessionRequest, OpenSessionResponse>;
  #timer: NodeJS.Timeout | undefined;
  /** What its agent, which stands still, is about to say. */
  #held: MessageInitShape<typeof OpenSessionRequestSchema>[] | undefined;

  constructor(options: FaultSessionOptions) {
    this.#options = options;
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${options.token}`);
    this.#stream = options.channel.makeBidiStreamRequest(
      PATH,
      (message: OpenSessionRequest) => Buffer.from(toBinary(OpenSessionRequestSchema, message)),
      (bytes) => fromBinary(OpenSessionResponseSchema, bytes),
      metadata,
    );
    this.#stream.on('error', () => {}); // the status says it too
    this.#stream.on('data', (response: OpenSessionResponse) => this.#hear(response));
    this.#stream.on('status', ({ code, details }) => this.#end(`${code} ${details}`));
    this.#wait();
    this.send({ frame: { case: 'hello', value: options.hello } });
  }

  get open(): boolean {
    return this.epoch !== 0n && !this.over;
  }

  send(frame: MessageInitShape<typeof OpenSessionRequestSchema>): void {
    if (this.over || this.#stream.destroyed) return;
    if (this.#held !== undefined) this.#held.push(frame);
    else this.#stream.write(create(OpenSessionRequestSchema, frame));
  }

  /** Its agent stands still. */
  freeze(): void {
    if (this.over) return;
    this.#held ??= [];
    this.#stream.pause();
    clearTimeout(this.#timer);
  }

  thaw(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    if (this.over) return;
    this.#wait();
    for (const frame of held) this.send(frame);
    this.#stream.resume();
  }

  break(why: string): void {
    if (this.over) return;
    this.#end(why);
    this.#stream.cancel();
  }

  #hear({ frame }: OpenSessionResponse): void {
    if (this.over) return;
    this.#wait();
    const { listener } = this.#options;
    switch (frame.case) {
      case 'welcome':
        this.epoch = frame.value.epoch;
        this.replicaId = frame.value.replicaId;
        listener.welcomed(this, frame.value);
        return;
      case 'ping':
        this.send({ frame: { case: 'heartbeat', value: { echo: frame.value.echo } } });
        return;
      case 'delivery':
        listener.delivered(this, frame.value);
        return;
      case 'revoke':
        listener.revoked(this, frame.value);
        return;
      case 'result':
        listener.answered(this, frame.value);
        return;
      case 'goAway':
        this.ending = `go away: ${GoAway_ReasonSchema.value[frame.value.reason]?.localName}`;
        return;
      default:
    }
  }

  #wait(): void {
    clearTimeout(this.#timer);
    // To attach may take longer where many do, and whoever gave up then would make it take longer still.
    const patienceMs = this.#options.patienceMs * (this.epoch === 0n ? 2 : 1);
    this.#timer = setTimeout(() => this.break('silence'), patienceMs);
  }

  #end(why: string): void {
    if (this.over) return;
    this.over = true;
    this.ending ||= why;
    clearTimeout(this.#timer);
    this.#options.listener.over(this);
  }
}
