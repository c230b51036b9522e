import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Client as GrpcClient, type ServiceError, status } from '@grpc/grpc-js';
import { MessageService } from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { unary } from '../sim-agent.ts';
import { pause } from '../until.ts';
import type { Addresses } from './addresses.ts';
import type { AgentRecords } from './agent-records.ts';
import type { MessageBook, Outgoing } from './message-book.ts';
import type { Random } from './random.ts';
import { strain } from './strain.ts';

export interface CallerOptions {
  name: string;
  /** A channel to each replica. */
  doors: readonly GrpcClient[];
  addresses: Addresses;
  book: MessageBook;
  random: Random;
  recordsOf(agentId: string): AgentRecords | undefined;
}

/** What a call may end with. */
const REASONS = new Set([
  ...['RECEIVER_GONE', 'CALL_FAILED', 'DEADLINE_EXCEEDED', 'CONTENTION', 'MAILBOX_FULL'],
  ...['STORE_UNAVAILABLE', 'OUTCOME_UNKNOWN', 'SHUTTING_DOWN', 'CANCELLED'],
]);
/** Without a reason: the connection broke. */
const BROKEN = new Set([status.UNAVAILABLE, status.CANCELLED, status.INTERNAL]);
/** Longer than any fault: whoever is not answered by then would wait for ever. */
const FAULTS_MS = 12_000;
/** In good times the answer, or that there is none, comes so soon after the time that was given for it. */
const LATE_MS = 5_000;
/** And what is stored is known everywhere after so long. */
const HEARD_MS = 700;

/** What an agent answers. */
export const answerOf = (agentId: string, messageId: string, deliveryId: string): string =>
  `${agentId} answers ${messageId} in ${deliveryId}`;

/** Makes one call after the other. */
export class Caller {
  readonly ends = new Map<string, number>();
  readonly #options: CallerOptions;
  #count = 0;
  #stopping = false;
  #calm = false;
  #running: Promise<void> | undefined;

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stopping = false;
    this.#calm = false;
    this.#running = this.#run();
  }

  /** No fault any more, and everybody is there: calls that begin now end in time. */
  calm(): void {
    this.#calm = true;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    const { random, addresses, name } = this.#options;
    while (!this.#stopping) {
      this.#count += 1;
      const ended = await this.#call(addresses.drawCall(random, name, `${name}-${this.#count}`));
      await pause(ended === 'answered' ? random.between(5, 40) : random.between(40, 120));
    }
  }

  async #call(outgoing: Outgoing): Promise<'answered' | 'failed'> {
    const { doors, random, book } = this.#options;
    const timeoutMs = random.between(300, 1_500);
    const calm = this.#calm;
    const deadlineMs = timeoutMs + (calm ? LATE_MS : FAULTS_MS) * strain();
    book.tried(outgoing);
    const startMs = performance.now();
    try {
      const { output, agentId, deliveryId } = await unary(
        random.pick(doors),
        MessageService.method.callAgent,
        { send: outgoing.request, timeout: durationFromMs(timeoutMs), idempotent: outgoing.call === 'again' },
        { deadlineMs },
      );
      this.#end('answered');
      const said = output?.data.case === 'text' ? output.data.value : '';
      this.#check(outgoing, agentId, deliveryId, said);
      return 'answered';
    } catch (error) {
      const { code, details, metadata } = error as ServiceError;
      const reason = metadata?.get('error-reason')[0]?.toString() ?? '';
      this.#end(reason === '' ? `${status[code]}` : reason);
      const took = Math.round(performance.now() - startMs);
      if (reason === '' && code === status.DEADLINE_EXCEEDED) {
        book.faults.push(`call ${outgoing.id} with ${timeoutMs} ms had no end after ${took} ms`);
      } else if (!(reason === '' ? BROKEN.has(code) : REASONS.has(reason))) {
        book.faults.push(`call ${outgoing.id}: ${code} ${reason} ${details}`);
      } else if (calm && reason === 'DEADLINE_EXCEEDED' && this.#wasAnswered(outgoing.id)) {
        book.faults.push(
          `call ${outgoing.id} was answered in good times, and its caller has not heard of it`,
        );
      }
      return 'failed';
    }
  }

  #check({ id }: Outgoing, agentId: string, deliveryId: string, said: string): void {
    const { book, recordsOf } = this.#options;
    const fault = (what: string) => book.faults.push(`call ${id}, answered by ${agentId}: ${what}`);
    if (said !== answerOf(agentId, id, deliveryId)) fault(`the answer to ${deliveryId} was "${said}"`);
    if (book.of(id)?.deliveries.get(agentId)?.has(deliveryId) !== true) fault(`it never got ${deliveryId}`);
    const answered = recordsOf(agentId)?.deliveries.get(deliveryId)?.said.size ?? 0;
    if (answered === 0) fault('it never said so');
  }

  /** Whether an agent was told, some time ago, that what it did is stored. */
  #wasAnswered(id: string): boolean {
    const { book, recordsOf } = this.#options;
    const latestMs = performance.now() - HEARD_MS * strain();
    return [...(book.of(id)?.deliveries ?? [])].some(([agentId, ids]) =>
      [...ids].some((each) => (recordsOf(agentId)?.deliveries.get(each)?.doneMs ?? Infinity) < latestMs),
    );
  }

  #end(how: string): void {
    this.ends.set(how, (this.ends.get(how) ?? 0) + 1);
  }
}
