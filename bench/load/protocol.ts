/** What the bench and its load generator, a process of its own, say to each other. */

export interface SessionLoad {
  kind: 'sessions';
  /** "session": the server pings, the agents answer. "etcd": the clients keep leases alive, once a second each. */
  protocol: 'session' | 'etcd';
  /** "host:port" */
  address: string;
  connections: number;
  agentsPerConnection: number;
  /** Register each agent first, for its token (a bare server takes any). */
  register: boolean;
  /** What the agents' names begin with; default "bench". */
  prefix?: string;
  /** Agents with a connection each come back when it breaks, as those of the TypeScript SDK do. */
  reconnect?: boolean;
}

/** How long agents wait before they answer: log-normal, and now and then a spike. */
export interface AnswerDelays {
  medianMs: number;
  sigma: number;
  spikeShare: number;
  spikeMs: number;
}

export interface RegisterLoad {
  kind: 'register';
  address: string;
  /** Each with a connection of its own and one call under way. */
  clients: number;
  durationMs: number;
  warmupMs: number;
}

export type LoadCommand =
  | SessionLoad
  | RegisterLoad
  | MessageLoad
  | CallLoad
  | { kind: 'delays'; delays?: AnswerDelays }
  | { kind: 'count' }
  | { kind: 'close' };

export interface LoadCount {
  /** Round trips finished so far. */
  roundTrips: number;
  /** Sessions that ended although nobody asked them to. */
  broken: number;
  /** Sessions that are open and had their welcome. */
  attached: number;
  /** Connections tried again. */
  retries: number;
  /** What the generator itself used, microseconds. */
  cpuUs: number;
}

export interface RegisterResult {
  acknowledged: number;
  failed: number;
  elapsedMs: number;
  p50Ms: number;
  p99Ms: number;
}

export type LoadAnswer =
  | { kind: 'ready' }
  | { kind: 'failed'; detail: string }
  | ({ kind: 'count' } & LoadCount)
  | ({ kind: 'registered' } & RegisterResult)
  | ({ kind: 'sent' } & MessageResult)
  | ({ kind: 'called' } & CallResult);

/** Messages from senders to receivers: everybody talks to everybody, in turns. */
export interface MessageLoad {
  kind: 'messages';
  carrier: 'session' | 'jetstream';
  /** "host:port" */
  address: string;
  /** So many senders, and as many receivers, each on a connection of its own. */
  pairs: number;
  register: boolean;
  payloadBytes: number;
  /** Messages of each sender under way at a time; 0: sent at a rate instead. */
  window: number;
  /** Of all senders together. */
  ratePerSecond: number;
  warmupMs: number;
  durationMs: number;
  /** Processes whose CPU time is taken over the measured time. */
  watch: number[];
}

export interface Times {
  p50Ms: number;
  p99Ms: number;
}

/** What came of the messages that were over within the measured time. */
export interface MessageResult {
  acknowledged: number;
  elapsedMs: number;
  /** From the send: the sender has its answer. */
  stored: Times;
  /** The receiver has it. */
  received: Times;
  /** The receiver's acknowledgement is stored and answered. */
  over: Times;
  /** Of the watched processes, microseconds. */
  cpuUs: number[];
}

/** Calls: request and reply, in a closed loop. */
export interface CallLoad {
  kind: 'calls';
  carrier: 'session' | 'nats';
  address: string;
  /** Callers, each with one call under way, and as many agents that answer. */
  pairs: number;
  register: boolean;
  payloadBytes: number;
  /** Of all callers together; 0: as fast as they go. */
  ratePerSecond: number;
  warmupMs: number;
  durationMs: number;
  /** Processes whose CPU time is taken over the measured time. */
  watch: number[];
}

export interface CallResult {
  answered: number;
  elapsedMs: number;
  times: Times;
  /** Of the watched processes, microseconds. */
  cpuUs: number[];
}
