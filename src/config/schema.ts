import type { KeySpec } from './key.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

function listener(name: 'grpc' | 'http', port: number, words: string): KeySpec[] {
  return [
    {
      path: `${name}.listen`,
      kind: 'listen',
      default: `127.0.0.1:${port}`,
      doc: `Where ${words} listens; port 0 takes a free one.`,
    },
    {
      path: `${name}.max_connections`,
      kind: 'integer',
      default: 20_000,
      min: 1,
      max: 1_000_000,
      unit: 'connections',
      doc: 'Further connections are refused and counted.',
    },
    {
      path: `${name}.max_connections_per_address`,
      kind: 'integer',
      default: 10_000,
      min: 1,
      max: 1_000_000,
      unit: 'connections',
      doc: 'The same for one remote address. Behind a proxy many agents share one.',
    },
    {
      path: `${name}.hello_timeout`,
      kind: 'duration',
      default: '10s',
      min: 100,
      max: 5 * MINUTE,
      doc: 'A connection or session that has not said its first word by then is cut off.',
    },
    {
      path: `${name}.tls.cert_file`,
      kind: 'file',
      doc: 'Certificate chain, PEM; reloaded when it changes. Goes with `key_file`.',
    },
    { path: `${name}.tls.key_file`, kind: 'file', doc: 'Private key, PEM; goes with `cert_file`.' },
  ];
}

function limit(key: string, value: number, range: [number, number], unit: string, doc: string): KeySpec {
  const [min, max] = range;
  return { path: `limits.${key}`, kind: 'integer', default: value, min, max, unit, doc };
}

function threshold(key: string, value: number, doc: string): KeySpec {
  return { path: `alert_thresholds.${key}`, kind: 'number', default: value, min: 0, max: 1, doc };
}

function session(key: string, value: string, range: [number, number], doc: string): KeySpec {
  return { path: `session.${key}`, kind: 'duration', default: value, min: range[0], max: range[1], doc };
}

/** Defaults of agents' failure policies. */
function failure(key: string, value: string, range: [number, number], doc: string): KeySpec {
  return { path: `failures.${key}`, kind: 'duration', default: value, min: range[0], max: range[1], doc };
}

function database(key: string, doc: string): KeySpec {
  return { path: `databases.${key}`, kind: 'database', default: `${key}_db`, secret: true, doc };
}

/** Every key of the configuration, in the order of the reference. */
export const KEYS: readonly KeySpec[] = [
  {
    path: 'id',
    kind: 'text',
    default: 'orchestrator-1',
    min: 1,
    max: 63,
    doc: 'Names this orchestrator; with several replicas, each of them. Letters, digits, `.`, `_` and `-`.',
  },
  { path: 'name', kind: 'text', default: 'Orchestrator', min: 1, max: 128, doc: 'Its name for people.' },
  {
    path: 'capabilities',
    kind: 'choices',
    choices: ['system_coordination', 'agent_management', 'monitoring'],
    default: ['system_coordination', 'agent_management', 'monitoring'],
    doc: 'The parts that this replica serves; leaving one out turns it off.',
  },
  {
    path: 'relationships',
    kind: 'selectors',
    default: ['all_agents'],
    max: 64,
    doc: 'The agents it looks after: `all_agents`, or label selectors of which one must match.',
  },
  database('system', 'Replicas, leases and settings.'),
  database('agents', 'Agents and all that shares a commit with them.'),
  database('monitoring', 'To come: events and samples. Checked, opens nothing yet.'),
  {
    path: 'store',
    kind: 'store',
    default: 'lmdb:./data',
    secret: true,
    doc: 'The default store: `lmdb:<directory>`, `redis://[user:password@]host[:port]`, `redis+sentinel://[user:password@]host[:port],…/<master name>`, or these with `rediss` for TLS.',
  },
  {
    path: 'redis.min_replicas',
    kind: 'integer',
    default: 0,
    min: 0,
    max: 16,
    unit: 'replicas',
    doc: 'Redis replicas that must have each commit before it is acknowledged.',
  },
  {
    path: 'redis.wait_timeout',
    kind: 'duration',
    default: '1s',
    min: 10,
    max: MINUTE,
    doc: 'How long a commit waits for them.',
  },
  {
    path: 'redis.key_prefix',
    kind: 'text',
    default: 'orchestrator',
    min: 1,
    max: 64,
    doc: 'Stands before every Redis key. Letters, digits, `.`, `_` and `-`.',
  },
  {
    path: 'redis.sentinel_user',
    kind: 'text',
    default: '',
    min: 0,
    max: 256,
    doc: 'User at the Sentinels, if they ask for one. The user in the URL is for Redis itself.',
  },
  {
    path: 'redis.sentinel_password',
    kind: 'text',
    default: '',
    min: 0,
    max: 1_024,
    secret: true,
    doc: 'Password at the Sentinels, if they ask for one; best set by its variable.',
  },
  {
    path: 'update_interval',
    kind: 'duration',
    default: 60,
    min: SECOND,
    max: DAY,
    doc: 'The status is refreshed at least this often.',
  },
  {
    path: 'monitoring_interval',
    kind: 'duration',
    default: 300,
    min: SECOND,
    max: DAY,
    doc: 'To come: metrics are analysed this often. Checked, no effect yet.',
  },
  threshold('system_load', 0.8, 'Fleet load above it makes the status DEGRADED.'),
  threshold('agent_health', 0.9, 'Fleet health below it makes the status DEGRADED.'),
  threshold('resource_usage', 0.7, 'To come: an alert fires above it. Checked, no effect yet.'),
  {
    path: 'alert_thresholds.communication_latency',
    kind: 'milliseconds',
    default: 1000,
    min: 1,
    max: HOUR,
    doc: 'Round trips (p95 of the fleet) above it make the status DEGRADED.',
  },
  ...listener('grpc', 50051, 'gRPC'),
  {
    path: 'grpc.max_streams_per_connection',
    kind: 'integer',
    default: 1_000,
    min: 1,
    max: 100_000,
    unit: 'streams',
    doc: 'Calls open at a time on one connection.',
  },
  ...listener('http', 50080, 'HTTP (Connect, gRPC-Web, web page, `/metrics`)'),
  session(
    'ping_interval',
    '5s',
    [100, HOUR],
    'The shortest time between pings; it grows with the fleet, see `max_pings_per_second`.',
  ),
  {
    path: 'session.max_pings_per_second',
    kind: 'integer',
    default: 2_000,
    min: 1,
    max: 100_000,
    unit: 'pings per second',
    doc: 'Ceiling for this replica; the interval grows to keep it.',
  },
  session(
    'lease',
    '30s',
    [300, DAY],
    'Silence that makes an agent LOST; at least three times `ping_interval`.',
  ),
  session(
    'reconnect_grace',
    '30s',
    [0, DAY],
    'How long an agent may take to come back after a broken stream.',
  ),
  session('recovery_grace', '60s', [0, DAY], 'The same after this replica has (re)started.'),
  {
    path: 'session.suspect_phi',
    kind: 'number',
    default: 5,
    min: 1,
    max: 16,
    doc: 'Suspicion that makes an agent SUSPECT: minus log10 of the chance that a live agent is this silent.',
  },
  {
    path: 'session.outbound_window_bytes',
    kind: 'integer',
    default: 262_144,
    min: 16_384,
    max: 16_777_216,
    unit: 'bytes',
    doc: 'What may be on its way to one agent.',
  },
  session('drain_timeout', '10s', [100, HOUR], 'An agent that reads nothing for so long is cut off.'),
  session('flush_interval', '10s', [50, HOUR], 'Observations are written to the store this often.'),
  session(
    'progress_budget',
    '0s',
    [0, 30 * DAY],
    'How long an activity that declares no budget may show no progress; 0: for ever.',
  ),
  {
    ...session(
      'max_age',
      '0s',
      [SECOND, 30 * DAY],
      'Sessions are moved on after about so long, whatever the others hold; 0: never.',
    ),
    zero: true,
  },
  {
    ...session(
      'rebalance_after',
      '5m',
      [SECOND, 30 * DAY],
      'A session of about this age is moved on while its replica holds more of them than the others do; 0: never.',
    ),
    zero: true,
  },
  {
    path: 'deliveries.accept_within',
    kind: 'duration',
    default: '10s',
    min: 100,
    max: HOUR,
    doc: 'A delivery that an agent has not accepted or declined by then is delivered again.',
  },
  {
    path: 'deliveries.max_tries',
    kind: 'integer',
    default: 5,
    min: 1,
    max: 1_000,
    unit: 'tries',
    doc: 'After so many a delivery becomes a dead letter.',
  },
  {
    path: 'deliveries.expire_after',
    kind: 'duration',
    default: '1d',
    min: SECOND,
    max: 30 * DAY,
    doc: 'A command that was not answered by then becomes a dead letter.',
  },
  {
    path: 'deliveries.drain_deadline',
    kind: 'duration',
    default: '10m',
    min: 0,
    max: 30 * DAY,
    doc: 'How long a drain or a stop may take where the order does not say.',
  },
  {
    path: 'failures.on_loss',
    kind: 'choice',
    choices: ['release', 'keep'],
    default: 'release',
    doc: "What LOST does to an agent's work and reservations: others may have them, or they wait for it.",
  },
  failure('release_after', '0s', [0, 30 * DAY], 'How long after LOST that happens.'),
  {
    path: 'failures.restart_on_loss',
    kind: 'choice',
    choices: ['yes', 'no'],
    default: 'yes',
    doc: 'Whether the supervisor of a lost agent (its `SUPERVISED_BY` relationship) is told to restart it.',
  },
  failure('restart_min_backoff', '1s', [100, DAY], 'The pause before the first restart; it doubles.'),
  failure('restart_max_backoff', '5m', [100, 30 * DAY], 'The longest pause before a restart.'),
  {
    path: 'failures.restart_max_attempts',
    kind: 'integer',
    default: 10,
    min: 1,
    max: 1_000,
    unit: 'restarts',
    doc: 'After so many in a row the agent is set aside.',
  },
  failure(
    'restart_reset_after',
    '10m',
    [SECOND, 30 * DAY],
    'An agent that stayed attached for so long has begun anew.',
  ),
  {
    path: 'failures.quarantine',
    kind: 'choice',
    choices: ['on', 'off'],
    default: 'on',
    doc: 'Whether an agent that fails again and again is set aside.',
  },
  {
    path: 'failures.quarantine_max_failures',
    kind: 'integer',
    default: 5,
    min: 2,
    max: 16,
    unit: 'failures',
    doc: 'So many within the window set it aside.',
  },
  failure('quarantine_window', '10m', [SECOND, 30 * DAY], 'The window in which failures count.'),
  failure('quarantine_cool_off', '10m', [SECOND, 30 * DAY], 'For how long an agent is set aside.'),
  {
    path: 'failures.quarantines_per_minute',
    kind: 'integer',
    default: 10,
    min: 1,
    max: 100_000,
    unit: 'agents per minute',
    doc: 'At most so many of a namespace are set aside by rule.',
  },
  {
    path: 'brake.share',
    kind: 'number',
    default: 0.5,
    min: 0.01,
    max: 1,
    doc: 'Above this share of a zone or a namespace in trouble at once, automatic action on its agents stops.',
  },
  {
    path: 'brake.min_failures',
    kind: 'integer',
    default: 5,
    min: 1,
    max: 1_000_000,
    unit: 'agents',
    doc: 'Fewer in trouble never set the brake.',
  },
  {
    path: 'brake.hold',
    kind: 'duration',
    default: '30m',
    min: SECOND,
    max: 30 * DAY,
    zero: true,
    doc: 'After this, action goes on at `rate_per_second` although the failure lasts; 0: only after ConfirmLoss.',
  },
  {
    path: 'brake.rate_per_second',
    kind: 'number',
    default: 1,
    min: 0.001,
    max: 10_000,
    doc: 'Agents a second on which action is then taken, in random order.',
  },
  limit('max_receivers', 10_000, [1, 1_000_000], 'agents', 'Receivers that one message may have.'),
  limit(
    'max_calls',
    2_000,
    [1, 1_000_000],
    'calls',
    'Calls of agents that wait for an answer, on this replica.',
  ),
  limit('max_subscriptions', 10_000, [1, 1_000_000], 'subscriptions', 'Subscriptions in one namespace.'),
  limit('max_link_policies', 256, [1, 10_000], 'policies', 'Link policies in one namespace.'),
  limit(
    'max_links',
    10_000,
    [1, 1_000_000],
    'links',
    'Pairs of sender and receiver whose traffic this replica counts.',
  ),
  limit(
    'max_operations',
    16,
    [1, 1_000],
    'operations',
    'Fleet operations in one namespace that have not ended.',
  ),
  limit('max_locks', 100_000, [1, 10_000_000], 'locks', 'Locks in one namespace.'),
  limit('max_lock_waiters', 1_000, [1, 100_000], 'calls', 'Calls that wait for a lock, on this replica.'),
  limit(
    'max_mailbox',
    1_000,
    [1, 100_000],
    'deliveries',
    'Unfinished deliveries in the mailbox of one agent.',
  ),
  limit('max_message_bytes', 1_048_576, [1_024, 67_108_864], 'bytes', 'Largest request on either listener.'),
  limit('max_agents', 100_000, [1, 10_000_000], 'agents', 'Registered agents in one namespace.'),
  limit('max_namespaces', 1_000, [1, 100_000], 'namespaces', 'Namespaces; an agent in a new one is refused.'),
  limit('max_sessions', 20_000, [1, 1_000_000], 'sessions', 'Sessions on this replica.'),
  limit('max_watches', 1_000, [1, 100_000], 'streams', 'Open watch streams on this replica.'),
  limit(
    'watch_buffer',
    10_000,
    [16, 1_000_000],
    'changes',
    'How far a watcher may be behind before it is cut off.',
  ),
  limit(
    'max_unary_in_flight',
    2_000,
    [1, 1_000_000],
    'calls',
    'Unary calls under way at a time; long polls count as sessions instead.',
  ),
  {
    path: 'events.retention',
    kind: 'duration',
    default: '7d',
    min: MINUTE,
    max: 3_650 * DAY,
    doc: 'How long events are kept.',
  },
  {
    path: 'shutdown.spread',
    kind: 'duration',
    default: '2s',
    min: 0,
    max: HOUR,
    doc: 'Sessions are sent away over this time; not longer than `timeout`.',
  },
  {
    path: 'shutdown.timeout',
    kind: 'duration',
    default: '15s',
    min: 100,
    max: HOUR,
    doc: 'After this the process ends, whatever is open.',
  },
  {
    path: 'log.level',
    kind: 'choice',
    choices: ['trace', 'debug', 'info', 'warn', 'error'],
    default: 'info',
    doc: 'The least severe level that is logged.',
  },
  {
    path: 'log.format',
    kind: 'choice',
    choices: ['json', 'pretty', 'auto'],
    default: 'auto',
    doc: '`auto` is `pretty` on a terminal and `json` elsewhere.',
  },
];

/** Variables with the prefix that are not keys. */
export const OTHER_VARIABLES: Readonly<Record<string, string>> = {
  ORCHESTRATOR_CONFIG: 'Path of the configuration file, where `--config` is not given.',
  ORCHESTRATOR_SERVER: 'Where the `orchestrator` commands find the service; the service itself ignores it.',
  ORCHESTRATOR_NAMESPACE: 'Namespace of the `orchestrator` commands; the service itself ignores it.',
  ORCHESTRATOR_AGENT_TOKEN: 'Token for `orchestrator agents register`; the service itself ignores it.',
};
