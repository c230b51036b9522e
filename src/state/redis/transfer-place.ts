import type { Clock } from '../../lib/clock.ts';
import { type Logger, silentLogger } from '../../lib/logger.ts';
import { StoreOpenError } from '../store.ts';
import { Connection } from './connection.ts';
import { sendAll } from './content.ts';
import { describeFault, toStoreError } from './errors.ts';
import { Keys } from './keys.ts';
import { Sentinels } from './sentinels.ts';
import { parseInfo } from './server-info.ts';
import { type Address, checkPrefix, parseTarget, type Target } from './target.ts';

export interface RedisTransferOptions {
  url: string;
  /** User and password at the Sentinels; default "": none. */
  sentinelUser?: string;
  sentinelPassword?: string;
  database: string;
  keyPrefix: string;
  clock: Clock;
  /** After so long without an answer Redis counts as away; default 30 s: big values take their time. */
  timeoutMs?: number;
}

const SENTINEL_TIMEOUT_MS = 5_000;

/** Where a transfer reads or writes. */
export interface Place {
  target: Target;
  keys: Keys;
  connection: Connection;
  info: Map<string, string>;
}

/** Connects, and closes the connection again if `work` fails. */
export async function withPlace<T>(
  options: RedisTransferOptions,
  work: (place: Place) => Promise<T>,
): Promise<T> {
  const { sentinelUser: user = '', sentinelPassword: password = '' } = options;
  const target = parseTarget(options.url, { user, password });
  checkPrefix('the key prefix', options.keyPrefix);
  checkPrefix('the name of the database', options.database);
  const keys = new Keys({ prefix: options.keyPrefix, database: options.database });
  const { connection, info } = await connect(options, target);
  try {
    return await work({ target, keys, connection, info });
  } catch (error) {
    connection.close();
    if (error instanceof StoreOpenError) throw error;
    const reason = error instanceof Error ? describeFault(error) : String(error);
    throw new StoreOpenError(`cannot use Redis at ${target.label}: ${reason}`);
  }
}

/** One connection, which is not made again when it breaks: the server may have forgotten what was written. */
async function connect(
  { clock, timeoutMs = 30_000 }: RedisTransferOptions,
  target: Target,
): Promise<{ connection: Connection; info: Map<string, string> }> {
  const log = silentLogger;
  const place = await locate({ target, clock, log });
  let info: Map<string, string> | undefined;
  let settle = (): void => {};
  const settled = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const connection = new Connection({
    ...{ locate: () => place, tls: target.tls, login: target.login, name: 'transfer', clock, log, timeoutMs },
    prepare: async (made) => {
      if (info) throw new Error('the connection broke');
      const [reply] = await sendAll(made, [['info']]);
      const fields = parseInfo(reply ?? null);
      if (fields.get('loading') === '1') throw new Error('Redis is loading its data');
      info = fields;
    },
    onUp: () => settle(),
    onDown: () => settle(),
  });
  connection.connect();
  await settled;
  if (info && connection.up) return { connection, info };
  const reason = describeFault(connection.fault);
  connection.close();
  throw new StoreOpenError(`cannot use Redis at ${target.label}: ${reason}`);
}

/** Where the server is: as the URL says, or as the Sentinels that it names do. */
async function locate(options: { target: Target; clock: Clock; log: Logger }): Promise<Address> {
  const { target } = options;
  const [address] = target.addresses;
  if (target.master === undefined && address) return address;
  const sentinels = new Sentinels({ ...options, timeoutMs: SENTINEL_TIMEOUT_MS, onMove: () => {} });
  try {
    await sentinels.open(SENTINEL_TIMEOUT_MS);
    const { master } = sentinels;
    if (!(master instanceof Error)) return master;
    throw new StoreOpenError(`cannot use Redis at ${target.label}: ${describeFault(master)}`);
  } finally {
    sentinels.close();
  }
}

/** Errors as the port has them. */
export async function* told<T>(pages: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* pages;
  } catch (error) {
    throw toStoreError(error, false);
  }
}
