import type { AlertsConfig, HistoryConfig, ReportConfig, ServiceConfig } from './monitoring-config.ts';

/**
 * The effective configuration of a replica, frozen. `schema.ts` says each key's YAML path, default, range and
 * meaning once; the loader, `config show` and docs/configuration.md are made from it.
 *
 * YAML keys stand under `orchestrator:` in snake case (`session.ping_interval`), environment variables are
 * `ORCHESTRATOR_` + path in capitals (`ORCHESTRATOR_SESSION_PING_INTERVAL`), flags are `--session.ping-interval`.
 */
export interface Config {
  /** `id`: names this orchestrator and, with several replicas, each of them; default "orchestrator-1". */
  id: string;
  /** `name`: for people; default "Orchestrator". */
  name: string;
  /** `capabilities`: which parts this replica serves. */
  capabilities: readonly Capability[];
  /** `relationships`: which agents it looks after: "all_agents" or label selectors. */
  relationships: readonly string[];
  /** `databases.*`: a URL, or the name of a logical database in the default store. */
  databases: { system: string; agents: string; monitoring: string };
  /** `store`: the default store, "lmdb:<directory>", "redis://…", "redis+sentinel://…", or these with "rediss"; default "lmdb:./data". */
  store: string;
  /** `redis.*` */
  redis: {
    /** `min_replicas`: replicas that must have each commit (WAIT); 0: none. Default 0. */
    minReplicas: number;
    /** `wait_timeout`: how long to wait for them; default 1 s. */
    waitTimeoutMs: number;
    /** `key_prefix`: before every key; default "orchestrator". */
    keyPrefix: string;
    /** `sentinel_user`, `sentinel_password`: for the Sentinels of a `redis+sentinel://` URL; default "": none. */
    sentinelUser: string;
    sentinelPassword: string;
  };
  /** `update_interval`, seconds: how often the status is refreshed at the latest; default 60. */
  updateIntervalMs: number;
  /** `monitoring_interval`, seconds: how often metrics are analysed; default 300. */
  monitoringIntervalMs: number;
  /** `alert_thresholds.*` */
  alertThresholds: {
    /** 0..1, above; default 0.8. */
    systemLoad: number;
    /** 0..1, below; default 0.9. */
    agentHealth: number;
    /** 0..1, above; default 0.7. */
    resourceUsage: number;
    /** Milliseconds, above; default 1000. */
    communicationLatencyMs: number;
  };
  /** `grpc.*` */
  grpc: ListenerConfig & {
    /** `max_streams_per_connection`: default 1,000. */
    maxStreamsPerConnection: number;
  };
  /** `http.*` */
  http: ListenerConfig;
  session: SessionConfig;
  deliveries: DeliveriesConfig;
  tasks: TasksConfig;
  resources: ResourcesConfig;
  history: HistoryConfig;
  alerts: AlertsConfig;
  /** `services`: things that are no agents and are watched over. Default none. */
  services: readonly ServiceConfig[];
  report: ReportConfig;
  failures: FailuresConfig;
  brake: BrakeConfig;
  limits: {
    /** `limits.max_receivers`: of one message; default 10,000. */
    maxReceivers: number;
    /** `limits.max_calls`: calls of agents that wait for an answer, on this replica; default 2,000. */
    maxCalls: number;
    /** `limits.max_subscriptions`: per namespace; default 10,000. */
    maxSubscriptions: number;
    /** `limits.max_link_policies`: per namespace; default 256. */
    maxLinkPolicies: number;
    /** `limits.max_links`: pairs of sender and receiver whose traffic this replica counts; default 10,000. */
    maxLinks: number;
    /** `limits.max_operations`: that have not ended, per namespace; default 16. */
    maxOperations: number;
    /** `limits.max_tasks`: that have not ended, per namespace; default 200,000. */
    maxTasks: number;
    /** `limits.max_allocations`: that have not ended, per namespace; default 100,000. */
    maxAllocations: number;
    /** `limits.max_quotas`: per namespace; default 1,000. */
    maxQuotas: number;
    /** `limits.max_locks`: per namespace; default 100,000. */
    maxLocks: number;
    /** `limits.max_lock_waiters`: calls that wait for a lock, on this replica; default 1,000. */
    maxLockWaiters: number;
    /** `limits.max_mailbox`: unfinished deliveries of one agent; default 1,000. */
    maxMailbox: number;
    /** `limits.max_message_bytes`: largest request message on either listener; default 1 MiB. */
    maxMessageBytes: number;
    /** `limits.max_agents`: per namespace; default 100,000. */
    maxAgents: number;
    /** `limits.max_namespaces`: namespaces that agents may be registered in; default 1,000. */
    maxNamespaces: number;
    /** `limits.max_sessions`: on this replica; default 20,000. */
    maxSessions: number;
    /** `limits.max_watches`: open watch streams on this replica; default 1,000. */
    maxWatches: number;
    /** `limits.watch_buffer`: changes a watcher may be behind before it is cut off; default 10,000. */
    watchBuffer: number;
    /** `limits.max_unary_in_flight`: unary calls under way at a time on this replica; default 2,000. */
    maxUnaryInFlight: number;
  };
  events: {
    /** `events.retention`: how long events are kept; default 7 days. */
    retentionMs: number;
  };
  shutdown: {
    /** `shutdown.spread`: over how long sessions are sent away; default 2 s. */
    spreadMs: number;
    /** `shutdown.timeout`: after this the process ends, whatever is open; default 15 s. */
    timeoutMs: number;
  };
  log: {
    /** `log.level`: trace, debug, info, warn, error; default info. */
    level: string;
    /** `log.format`: "json", "pretty" or "auto" (pretty on a terminal); default auto. */
    format: 'json' | 'pretty' | 'auto';
  };
}

export type Capability = 'system_coordination' | 'agent_management' | 'monitoring' | 'resource_management';

export interface ListenerConfig {
  /** `listen`: "host:port"; port 0 takes a free one. Default 127.0.0.1:50051 (gRPC) and 127.0.0.1:50080 (HTTP). */
  listen: string;
  /** `max_connections`: default 20,000. */
  maxConnections: number;
  /** `max_connections_per_address`: default 10,000. Loopback and proxies make many agents look like one address. */
  maxConnectionsPerAddress: number;
  /** `hello_timeout`: a connection (TLS and HTTP/2 preface) or session that has not said its first word by then is cut off; default 10 s. */
  helloTimeoutMs: number;
  /** `tls.cert_file` and `tls.key_file`: PEM; reloaded when they change. Both or none. */
  tls: { certFile: string; keyFile: string } | undefined;
}

/** `session.*` */
export interface SessionConfig {
  /** `ping_interval`: the shortest; default 5 s. */
  pingIntervalMs: number;
  /** `max_pings_per_second`: ceiling for this replica; the interval grows with the fleet to keep it. Default 2,000. */
  maxPingsPerSecond: number;
  /** `lease`: silence that makes LOST; at least 3 ping intervals. Default 30 s. */
  leaseMs: number;
  /** `reconnect_grace`: how long after a broken stream an agent may come back. Default 30 s. */
  reconnectGraceMs: number;
  /** `recovery_grace`: the same after this replica (re)started. Default 60 s. */
  recoveryGraceMs: number;
  /** `suspect_phi`: suspicion needed for SUSPECT: minus log10 of the chance that a live agent is this silent. Default 5. */
  suspectPhi: number;
  /** `outbound_window_bytes`: what may be on its way to one agent; default 256 KiB. */
  outboundWindowBytes: number;
  /** `drain_timeout`: an agent that reads nothing for so long is cut off; default 10 s. */
  drainTimeoutMs: number;
  /** `flush_interval`: how often observations are written to the store; default 10 s. */
  flushIntervalMs: number;
  /** `progress_budget`: for activities that declare none; 0: no contract. Default 0. */
  progressBudgetMs: number;
  /** `max_age`: sessions are moved on after about this long; 0: never. Default 0. */
  maxAgeMs: number;
  /** `rebalance_after`: from about this age on they may be, while this replica holds more than its share; 0: never. Default 5 min. */
  rebalanceAfterMs: number;
}

/** `deliveries.*` */
export interface DeliveriesConfig {
  /** `accept_within`: an unanswered delivery is delivered again after this; default 10 s. */
  acceptWithinMs: number;
  /** `max_tries`: after so many it is a dead letter; default 5. */
  maxTries: number;
  /** `expire_after`: a command that was not answered by then is a dead letter; default 1 day. */
  expireAfterMs: number;
  /** `drain_deadline`: how long a drain or stop may take; default 10 min. */
  drainDeadlineMs: number;
}

/** `tasks.*` */
export interface TasksConfig {
  /** `strategy`: default least_loaded. */
  strategy: 'binpack' | 'spread' | 'least_loaded';
  /** `default_slots`: of an agent that declares none; default 1. */
  defaultSlots: number;
  /** `max_attempts`: default 3. */
  maxAttempts: number;
  /** `aging`: waiting for so long counts as one more in priority; default 1 min. */
  agingMs: number;
  /** `reserve_after`: then an agent is kept free for a task that waits for room; 0: never. Default 30 s. */
  reserveAfterMs: number;
  /** `retention`: how long ended tasks are kept; default 7 days. */
  retentionMs: number;
}

/** `resources.*` */
export interface ResourcesConfig {
  /** `overcommit`: "name=factor" of resources of which more may be reserved than there is; see factorsOf. Default none. */
  overcommit: readonly string[];
  /** `on_shrink`: what happens to tasks beyond a capacity that shrank; default keep. */
  onShrink: 'keep' | 'move';
  /** `rebalance_interval`: how often moves are looked for; 0: never by itself. Default 0. */
  rebalanceIntervalMs: number;
  /** `rebalance_mode`: what becomes of moves that are found by itself; default report. */
  rebalanceMode: 'report' | 'apply';
  /** `usage_high`: an agent that uses more than so many times of what is reserved is an event; default 1.25. */
  usageHigh: number;
  /** `usage_low`: one that uses less than such a share of it; 0: never. Default 0.1. */
  usageLow: number;
}

/** `failures.*`: the defaults of agents' failure policies. */
export interface FailuresConfig {
  /** `on_loss`: default release. */
  onLoss: 'release' | 'keep';
  /** `release_after`: after LOST; default 0. */
  releaseAfterMs: number;
  /** `restart_on_loss`: default yes. */
  restartOnLoss: 'yes' | 'no';
  /** `restart_min_backoff`: default 1 s. */
  restartMinBackoffMs: number;
  /** `restart_max_backoff`: default 5 min. */
  restartMaxBackoffMs: number;
  /** `restart_max_attempts`: in a row; default 10. */
  restartMaxAttempts: number;
  /** `restart_reset_after`: attached for so long, it has begun anew; default 10 min. */
  restartResetAfterMs: number;
  /** `quarantine`: default on. */
  quarantine: 'on' | 'off';
  /** `quarantine_max_failures`: within the window; default 5. */
  quarantineMaxFailures: number;
  /** `quarantine_window`: default 10 min. */
  quarantineWindowMs: number;
  /** `quarantine_cool_off`: default 10 min. */
  quarantineCoolOffMs: number;
  /** `quarantines_per_minute`: by rule, in a namespace; default 10. */
  quarantinesPerMinute: number;
}

/** `brake.*`: when a mass failure stops automatic action. */
export interface BrakeConfig {
  /** `share`: of a zone or namespace in trouble; default 0.5. */
  share: number;
  /** `min_failures`: fewer never set it; default 5. */
  minFailures: number;
  /** `hold`: then action goes on at the rate; 0: only after ConfirmLoss. Default 30 min. */
  holdMs: number;
  /** `rate_per_second`: default 1. */
  ratePerSecond: number;
}
