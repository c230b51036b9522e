import type { Clock } from '../../lib/clock.ts';
import { StoreOpenError } from '../store.ts';
import {
  REVISION_LEAP,
  type TargetState,
  type TransferRecord,
  type TransferSource,
  type TransferTarget,
} from '../transfer.ts';
import type { Command, Connection } from './connection.ts';
import { Content, scanKeys, sendAll } from './content.ts';
import { toStoreError } from './errors.ts';
import type { Keys } from './keys.ts';
import { TTL_MS as LIVE_TTL_MS } from './live.ts';
import * as scripts from './scripts.ts';
import { inspectServer, parseInfo } from './server-info.ts';
import { type Place, type RedisTransferOptions, told, withPlace } from './transfer-place.ts';

/** Whether there is a database with that name. @throws StoreOpenError */
export async function hasRedisDatabase(options: RedisTransferOptions): Promise<boolean> {
  return withPlace(options, async ({ connection, keys }) => {
    const found = (await connection.call('exists', keys.store)) === 1;
    connection.close();
    return found;
  });
}

/** Opens a database to read it; services may use it meanwhile. @throws StoreOpenError */
export async function openRedisSource(options: RedisTransferOptions): Promise<TransferSource> {
  return withPlace(options, async ({ target, connection, keys, info }) => {
    const [epoch, importing] = scripts.list(await connection.call('hmget', keys.store, 'epoch', 'importing'));
    if (importing !== null) throw new StoreOpenError(scripts.unfinishedReason(scripts.text(importing)));
    if (epoch === null) {
      throw new StoreOpenError(`there is no store ${options.database} in Redis at ${target.label}`);
    }
    const namespaces = await committedNamespaces(connection, keys);
    return {
      kind: 'redis',
      identity: identityOf({ keys, info }),
      inUse: (await countFollowers(connection, keys)) > 0,
      epoch: scripts.number(epoch),
      namespaces,
      read: () => told(new Content({ connection, keys, namespaces, ...abilities(info) }).read()),
      close: async () => connection.close(),
    };
  });
}

/**
 * Opens a database to fill it.
 * @throws StoreOpenError also when a service has it open
 */
export async function openRedisTarget(options: RedisTransferOptions): Promise<TransferTarget> {
  return withPlace(options, async (place) => {
    const { connection, keys, target } = place;
    const { primary } = await inspectServer(connection);
    if (!primary)
      throw new StoreOpenError(`Redis at ${target.label} is a replica of another: use the primary`);
    const followers = await countFollowers(connection, keys);
    if (followers > 0) {
      const who = followers === 1 ? 'a service uses' : `${followers} services use`;
      throw new StoreOpenError(
        `${who} the store ${options.database} in Redis at ${target.label}: stop it first`,
      );
    }
    const [epoch, importing] = scripts.list(await connection.call('hmget', keys.store, 'epoch', 'importing'));
    const state: TargetState =
      importing !== null ? 'unfinished' : (await hasContent(connection, keys)) ? 'filled' : 'empty';
    return new RedisTarget({ place, clock: options.clock, state, epoch: scripts.number(epoch) });
  });
}

interface RedisTargetOptions {
  place: Place;
  clock: Clock;
  state: TargetState;
  epoch: bigint;
}

class RedisTarget implements TransferTarget {
  readonly kind = 'redis';
  readonly identity: string;
  readonly state: TargetState;
  readonly epoch: bigint;
  readonly #place: Place;
  readonly #clock: Clock;
  readonly #namespaces: string[] = [];
  #newEpoch = 0n;

  constructor({ place, clock, state, epoch }: RedisTargetOptions) {
    this.#place = place;
    this.identity = identityOf(place);
    this.#clock = clock;
    this.state = state;
    this.epoch = epoch;
  }

  async begin(epoch: bigint): Promise<void> {
    const { connection, keys } = this.#place;
    const importing = new Date(this.#clock.wallMs()).toISOString();
    this.#newEpoch = epoch;
    // The mark comes first, and with an epoch and run that no service has: nobody can commit from here on.
    await this.#send([['hset', keys.store, 'epoch', String(epoch), 'run', '', 'importing', importing]]);
    for await (const found of told(scanKeys(connection, keys.pattern))) {
      const old = found.filter((key) => key !== keys.store);
      if (old.length > 0) await this.#send([['unlink', ...old]]);
    }
  }

  async write(records: readonly TransferRecord[]): Promise<void> {
    const nowMs = this.#clock.wallMs();
    const commands = records.flatMap((record) => this.#commandsOf(record, nowMs));
    if (commands.length > 0) await this.#send(commands);
  }

  read(): AsyncIterable<readonly TransferRecord[]> {
    const { connection, keys, info } = this.#place;
    const namespaces = this.#namespaces;
    return told(new Content({ connection, keys, namespaces, ...abilities(info) }).read());
  }

  async complete(): Promise<void> {
    const { keys } = this.#place;
    const [info] = await this.#send([['info', 'server']]);
    const runId = parseInfo(info ?? null).get('run_id') ?? '';
    for (let at = 0; at < this.#namespaces.length; at += 1_000) {
      const page = this.#namespaces.slice(at, at + 1_000);
      await this.#send(page.map((namespace) => ['hset', keys.of(namespace).meta, 'run', runId]));
    }
    await this.#send([['hset', keys.store, 'run', runId]]);
    await this.#send([['hdel', keys.store, 'importing']]);
  }

  async close(): Promise<void> {
    this.#place.connection.close();
  }

  async #send(commands: readonly Command[]) {
    try {
      return await sendAll(this.#place.connection, commands);
    } catch (error) {
      throw toStoreError(error, true);
    }
  }

  #commandsOf(record: TransferRecord, nowMs: number): Command[] {
    const { keys } = this.#place;
    const { namespace } = record;
    const names = keys.of(namespace);
    switch (record.kind) {
      case 'namespace': {
        this.#namespaces.push(namespace);
        const revision = String(record.revision + REVISION_LEAP);
        // Without a run nobody's commit is taken; `complete` writes it.
        const state = ['epoch', String(this.#newEpoch), 'run', '', 'revision', revision, 'floor', revision];
        return [
          ['sadd', keys.namespaces, namespace],
          ['hset', names.meta, ...state, 'time', String(Math.floor(record.timeMs))],
        ];
      }
      case 'entry':
        return [
          ['hset', names.data, record.key, after(`${record.revision}:`, record.value)],
          ['zadd', names.index, 0, record.key],
        ];
      case 'series': {
        const place = [keys.series(namespace, record.series), `${record.revision}-${record.index}`] as const;
        return [['xadd', ...place, 't', String(record.timeMs), 'v', asBuffer(record.value)]];
      }
      case 'request': {
        if (record.expiresMs <= nowMs) return [];
        const head = `${record.revision}:${record.fingerprint.length}:`;
        const value = Buffer.concat([Buffer.from(head), record.fingerprint, record.response]);
        return [['set', keys.request(namespace, record.id), value, 'PXAT', Math.ceil(record.expiresMs)]];
      }
      case 'live':
        return [
          ['hset', names.live, record.key, after(`${record.epoch}:${record.sequence}:1`, record.value)],
          ['pexpire', names.live, LIVE_TTL_MS],
        ];
    }
  }
}

const identityOf = ({ keys, info }: Pick<Place, 'keys' | 'info'>): string =>
  `${info.get('run_id')} ${keys.store}`;

const after = (head: string, value: Uint8Array): Buffer => Buffer.concat([Buffer.from(head), value]);

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const abilities = (info: Map<string, string>): { hasExpireTime: boolean } => ({
  hasExpireTime: Number(info.get('redis_version')?.split('.')[0] ?? 0) >= 7,
});

async function committedNamespaces(connection: Connection, keys: Keys): Promise<string[]> {
  const names = scripts.list(await connection.call('smembers', keys.namespaces)).map(scripts.text);
  const revisions = await Promise.all(
    names.map((name) => connection.call('hget', keys.of(name).meta, 'revision')),
  );
  // They are registered before their first commit, which may then have been refused.
  return names.filter((_, index) => scripts.number(revisions[index]) > 0n);
}

async function hasContent(connection: Connection, keys: Keys): Promise<boolean> {
  for await (const found of scanKeys(connection, keys.pattern)) {
    if (found.some((key) => keys.parse(key) !== undefined)) return true;
  }
  return false;
}

/** Every service follows the news of its database. Not every user may ask; then the epochs alone guard. */
async function countFollowers(connection: Connection, keys: Keys): Promise<number> {
  try {
    const reply = await connection.call('pubsub', 'numsub', keys.newsChannel);
    return Number(scripts.text(scripts.list(reply)[1]) || '0');
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('NOPERM')) return 0;
    throw error;
  }
}
