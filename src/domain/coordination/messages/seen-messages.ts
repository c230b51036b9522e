import { createHash } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import {
  type SendMessage,
  SendMessageSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type SendMessageResponse,
  SendMessageResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { type Check, QUIET_PREFIX, type Store } from '../../../state/store.ts';
import { fingerprintOf, requestIdReused } from '../../requests.ts';

/**
 * Stands before what is remembered of messages that were stored: "~seen/<12 digits: when its period began, Unix
 * seconds>/<hash of source and id>". One put with the message, and found by the commit's own checks: cheaper than a remembered
 * request, and for a shorter time, because of messages there are many.
 */
export const SEEN_PREFIX = `${QUIET_PREFIX}seen/`;
/** A message is remembered for its period and the next one. */
const PERIOD_MS = 300_000;
/** What the clocks of replicas may differ by, at most: before the end of a period the next one is looked at too. */
const CLOCKS_MS = 5000;
const HASH = 22;
const FINGERPRINT_BYTES = 32;

/** What is remembered may go, from its key. */
export const isForgotten = (key: string, storeMs: number): boolean =>
  Number(key.slice(SEEN_PREFIX.length, SEEN_PREFIX.length + 12)) * 1000 + 2 * PERIOD_MS <= storeMs;

/** One message that may have been stored before. */
export class SeenMessage {
  readonly checks: readonly Check[];
  /**
   * Names what is stored of it. A store that fell back may have lost a message of which receivers know already: sent
   * again in the same period, it has the same name, so that they recognise it; in the next one only its source and id
   * are the same.
   */
  readonly id: string;
  readonly #key: string;
  readonly #send: SendMessage;
  #print: Buffer | undefined;

  constructor(source: string, send: SendMessage, storeMs: number) {
    this.#send = send;
    const hash = createHash('sha256')
      .update(`${source.length} ${source}${send.message?.id}`)
      .digest('base64url')
      .slice(0, HASH);
    const began = storeMs - (storeMs % PERIOD_MS);
    const at = (ms: number): string => `${SEEN_PREFIX}${String(ms / 1000).padStart(12, '0')}/${hash}`;
    this.#key = at(began);
    this.id = `${began / 1000}.${hash}`;
    const others = [at(began - PERIOD_MS)];
    if (storeMs - began > PERIOD_MS - CLOCKS_MS) others.push(at(began + PERIOD_MS));
    this.checks = [this.#key, ...others].map((key) => ({ key, revision: 0n }));
  }

  /** Remembers the answer, in the commit that stores the message. */
  put(response: SendMessageResponse): { key: string; value: Uint8Array } {
    return {
      key: this.#key,
      value: Buffer.concat([this.#fingerprint(), encode(SendMessageResponseSchema, response)]),
    };
  }

  /** Whether a check that failed says that the message was stored before. */
  isMine(key: string): boolean {
    return this.checks.some((check) => check.key === key);
  }

  /**
   * The first answer, if the message was stored before.
   * @throws DomainError REQUEST_ID_REUSED for another message of the same source and id; StoreUnavailableError
   */
  async earlier(store: Store, namespace: string): Promise<SendMessageResponse | undefined> {
    for (const { key } of this.checks) {
      const entry = await store.get(namespace, key);
      if (entry === undefined) continue;
      const bytes = Buffer.from(entry.value);
      if (!bytes.subarray(0, FINGERPRINT_BYTES).equals(this.#fingerprint()))
        throw requestIdReused('send.message.id');
      const response = fromBinary(SendMessageResponseSchema, bytes.subarray(FINGERPRINT_BYTES));
      return Object.assign(response, { revision: entry.revision });
    }
    return undefined;
  }

  #fingerprint(): Buffer {
    this.#print ??= Buffer.from(printOf(this.#send));
    return this.#print;
  }
}

/** Of what a message says. Where maps could come in another order it is made of JSON, which costs more. */
function printOf(send: SendMessage): Uint8Array {
  const { message } = send;
  const maps = Object.keys(message?.extensions ?? {}).length > 1 || message?.data?.data.case === 'json';
  if (maps) return fingerprintOf(SendMessageSchema, send);
  return createHash('sha256').update(encode(SendMessageSchema, send)).digest();
}
