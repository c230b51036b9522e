/** `history.*`: how long measurements are kept. */
export interface HistoryConfig {
  /** `sample_interval`: how often agents are measured for raw history; default 10 s. */
  sampleIntervalMs: number;
  /** `raw`: how long samples of fleet, zones, replicas and services are kept as they are; default 6 h. */
  rawMs: number;
  /** `minutes`: how long their minutes are; default 14 days. */
  minutesMs: number;
  /** `hours`: how long their hours are; default 400 days. */
  hoursMs: number;
  /** `agents`: how long an agent's minutes are; default 7 days; 0: none are kept. */
  agentsMs: number;
}

/** `alerts.*` */
export interface AlertsConfig {
  /** `rules`: by the side of the built-in ones; one of the same name changes the built-in one. */
  rules: readonly RuleConfig[];
  /** `sinks`: where alerts and events are sent; default none but the log. */
  sinks: readonly SinkConfig[];
  /** `retention`: how long resolved alerts are kept; default 7 days. */
  retentionMs: number;
  /** `resend`: how often Alertmanager hears again of what fires; default 1 min. */
  resendMs: number;
}

/** A rule as configured; absent fields of a built-in one stay as they are. docs/alerts.md tells each. */
export interface RuleConfig {
  name: string;
  /** A metric of the catalogue; or `events`. */
  metric?: string;
  scope?: 'fleet' | 'zone' | 'agent' | 'replica' | 'service';
  resource?: string;
  /** Labels of agents; for zones, replicas and services "name=<id>". */
  selector?: string;
  /** One of both. */
  above?: number;
  below?: number;
  /** What must be crossed back; default: 5 % of the threshold on the good side. */
  clear?: number;
  /** `for`; default 0. */
  forMs?: number;
  /** `clear_for`; default 0. */
  clearForMs?: number;
  noData?: 'keep' | 'fire';
  events?: readonly string[];
  clearEvents?: readonly string[];
  expireAfterMs?: number;
  eventCount?: number;
  eventWindowMs?: number;
  severity?: 'info' | 'warning' | 'critical';
  labels?: Readonly<Record<string, string>>;
  description?: string;
  runbookUrl?: string;
  sinks?: readonly string[];
  namespaces?: readonly string[];
  disabled?: boolean;
}

/** Where alerts (and events, as CloudEvents) are sent. */
export interface SinkConfig {
  name: string;
  kind: 'webhook' | 'alertmanager' | 'command' | 'log';
  /** webhook: where each is POSTed. alertmanager: its base URL. Its password, if any, is a secret. */
  url?: string;
  /** webhook: key of the HMAC-SHA256 signature; a secret. `secret_file`: read from there, again when it changes. */
  secret?: string;
  secretFile?: string;
  /** Further headers; their values are secrets. */
  headers?: Readonly<Record<string, string>>;
  /** command: the program and its arguments; the alert is JSON on its standard input. */
  command?: readonly string[];
  /** How long a try may take; default 5 s. */
  timeoutMs: number;
  /** The first pause after a failed try; doubles up to max; default 1 s and 1 min. */
  retryMinMs: number;
  retryMaxMs: number;
  /** Whether alerts are sent there; default true. */
  alerts: boolean;
  minSeverity: 'info' | 'warning' | 'critical';
  /** Types of events that are sent there too, each as a CloudEvent ("agent.*"); default none. webhook and log only. */
  events: readonly string[];
  /** Only of these namespaces; empty: all. */
  namespaces: readonly string[];
}

/** A system service and how it is asked. */
export interface ServiceConfig {
  name: string;
  probe: 'http' | 'tcp' | 'grpc' | 'redis';
  /** http: a URL. tcp: host:port. grpc: host:port or a URL with the service's name as its path. redis: a redis URL. Passwords are secrets. */
  target: string;
  /** Default 15 s. */
  intervalMs: number;
  /** Default 3 s. */
  timeoutMs: number;
  /** Slower than this is SLOW; default 1 s. */
  slowMs: number;
  /** Failures in a row that make it DOWN; default 2. */
  failures: number;
  /** http: the status that is well, from and to; default 200–399. */
  expectStatus: readonly [number, number];
  /** Further headers (http); values are secrets. */
  headers?: Readonly<Record<string, string>>;
  /** For people. */
  description: string;
}

/** `report.*` */
export interface ReportConfig {
  /** `at`: when the daily report is made, "HH:MM" UTC; empty: never. Default "06:00". */
  at: string;
}
