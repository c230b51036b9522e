import { Redis } from 'ioredis';
import { type RedisServer, startRedis } from '../redis-server.ts';
import { until } from '../until.ts';
import { Gate } from './gate.ts';

/** Redis for the fault rounds: one server, or a primary with a replica behind a gate of its own. */
export class RedisPair {
  readonly #paired: boolean;
  #primary: RedisServer;
  #replica: RedisServer | undefined;
  #between: Gate | undefined;

  private constructor(primary: RedisServer, paired: boolean) {
    this.#primary = primary;
    this.#paired = paired;
  }

  static async start(paired: boolean): Promise<RedisPair> {
    const pair = new RedisPair(await startRedis({ appendfsync: 'always', args: QUICK }), paired);
    try {
      if (paired) await pair.join();
    } catch (error) {
      await pair.stop();
      throw error;
    }
    return pair;
  }

  get primary(): RedisServer {
    return this.#primary;
  }

  /** Cuts the replica off from its primary. */
  cutReplica(cut: 'refuse' | 'blackhole'): void {
    this.#between?.shut(cut);
  }

  /** The primary dies, and its replica becomes the primary with what it has. */
  async failOver(): Promise<RedisServer> {
    const promoted = this.#replica;
    if (promoted === undefined) throw new Error('there is no replica');
    const dead = this.#primary;
    await dead.kill('SIGKILL');
    await ask(promoted, (client) => client.call('replicaof', 'no', 'one'));
    this.#primary = promoted;
    this.#replica = undefined;
    await this.#between?.close();
    this.#between = undefined;
    await dead.stop();
    return promoted;
  }

  /** A new replica joins the primary. Resolves when it is in step. */
  async join(): Promise<void> {
    if (!this.#paired || this.#replica !== undefined) return;
    this.#between = await Gate.start(this.#primary.port);
    const args = [...QUICK, '--replicaof', `127.0.0.1 ${this.#between.port}`];
    const replica = await startRedis({ appendfsync: 'always', args });
    this.#replica = replica;
    await until(
      () => ask(replica, (client) => client.info('replication')),
      (info) => info.includes('master_link_status:up'),
      { what: 'the Redis replica', timeoutMs: 20_000 },
    );
  }

  async stop(): Promise<void> {
    await this.#between?.close();
    await Promise.all([this.#primary.stop(), this.#replica?.stop()]);
  }
}

/** Replicas are to be there at once, and to notice soon that their primary is gone. */
const QUICK = ['--repl-diskless-sync-delay', '0', '--repl-timeout', '5', '--repl-ping-replica-period', '1'];

async function ask<T>(server: RedisServer, question: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({ port: server.port, host: '127.0.0.1', retryStrategy: () => 50 });
  client.on('error', () => {});
  try {
    return await question(client);
  } finally {
    client.disconnect();
  }
}
