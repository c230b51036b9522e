import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { StoreOperation } from '../store.ts';

export interface LmdbStoreOptions {
  /** Where the databases lie; made if missing. */
  directory: string;
  /** The logical database: a directory in it. */
  database: string;
  clock: Clock;
  log: Logger;
  /** Told after each operation, for metrics. */
  onOperation?: (operation: StoreOperation) => void;
  /** Awaited after the sync of every group of commits, before any is acknowledged or seen by a follower. For tests. */
  onSync?: () => Promise<void>;
  /** How old the change log of a namespace may become; default ten minutes. */
  logMaxAgeMs?: number;
  /** How large it may become, in bytes; default 64 MiB. */
  logMaxBytes?: number;
  /** How often live records are written to disk; default 5 s. */
  liveFlushMs?: number;
  /** Address space set aside for the file; it may outgrow it. Default 16 GiB. */
  mapSizeBytes?: number;
}
