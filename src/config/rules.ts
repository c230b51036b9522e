import type { Config, ListenerConfig } from './config.ts';
import { storeKind, usesSentinel } from './store-url.ts';

/** A rule between keys that is broken; `paths` are the keys it is about, the likelier culprit first. */
export interface BrokenRule {
  paths: readonly string[];
  message: string;
}

/** The rules between keys. Values already fit their own ranges. */
export function brokenRules(config: Config): BrokenRule[] {
  const broken: BrokenRule[] = [];
  const rule = (holds: boolean, paths: readonly string[], message: string) => {
    if (!holds) broken.push({ paths, message });
  };
  const { session, shutdown } = config;
  rule(
    session.leaseMs >= 3 * session.pingIntervalMs,
    ['session.lease', 'session.ping_interval'],
    `must be at least three times session.ping_interval, which makes ${(3 * session.pingIntervalMs) / 1_000}s`,
  );
  rule(
    session.flushIntervalMs <= session.leaseMs,
    ['session.flush_interval', 'session.lease'],
    'must not be longer than session.lease',
  );
  rule(
    shutdown.spreadMs <= shutdown.timeoutMs,
    ['shutdown.spread', 'shutdown.timeout'],
    'must not be longer than shutdown.timeout',
  );
  const { failures } = config;
  rule(
    failures.restartMinBackoffMs <= failures.restartMaxBackoffMs,
    ['failures.restart_min_backoff', 'failures.restart_max_backoff'],
    'must not be longer than failures.restart_max_backoff',
  );
  for (const name of ['grpc', 'http'] as const) {
    const missing = missingTlsFile(config[name]);
    const [cert, key] = [`${name}.tls.cert_file`, `${name}.tls.key_file`] as const;
    rule(missing !== 'cert', [key, cert], `needs ${cert} beside it`);
    rule(missing !== 'key', [cert, key], `needs ${key} beside it`);
  }
  rule(
    config.grpc.listen !== config.http.listen || config.grpc.listen.endsWith(':0'),
    ['http.listen', 'grpc.listen'],
    'must differ from grpc.listen',
  );
  rule(
    config.report.at === '' || /^([01]\d|2[0-3]):[0-5]\d$/.test(config.report.at),
    ['report.at'],
    'must be "HH:MM" from 00:00 to 23:59, or empty',
  );
  const stores = [config.store, ...Object.values(config.databases)];
  rule(
    config.redis.minReplicas === 0 || stores.some((store) => storeKind(store) === 'redis'),
    ['redis.min_replicas', 'store'],
    'needs a Redis store, and none is configured',
  );
  for (const key of ['sentinelUser', 'sentinelPassword'] as const) {
    rule(
      config.redis[key] === '' || stores.some(usesSentinel),
      [key === 'sentinelUser' ? 'redis.sentinel_user' : 'redis.sentinel_password', 'store'],
      'needs a store at redis+sentinel://, and none is configured',
    );
  }
  const { system, agents, monitoring } = config.databases;
  rule(agents !== system, ['databases.agents', 'databases.system'], 'must differ from databases.system');
  rule(
    monitoring !== system && monitoring !== agents,
    ['databases.monitoring', 'databases.agents', 'databases.system'],
    'must differ from the other databases',
  );
  return broken;
}

function missingTlsFile(listener: ListenerConfig): 'cert' | 'key' | undefined {
  if (listener.tls === undefined) return undefined;
  if (listener.tls.certFile === undefined) return 'cert';
  return listener.tls.keyFile === undefined ? 'key' : undefined;
}
