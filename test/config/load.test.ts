import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { ConfigError, formatConfigError } from '../../src/config/errors.ts';
import { factorsOf } from '../../src/config/factors.ts';
import { configPath, envName } from '../../src/config/key.ts';
import { type LoadOptions, loadConfig } from '../../src/config/load.ts';
import { KEYS } from '../../src/config/schema.ts';

// The two blocks of the requirements, exactly as they stand there.
const REQUIRED_SETTINGS = `orchestrator:
  id: "orchestrator-1"
  name: "Orchestrator"
  capabilities: ["system_coordination", "agent_management", "monitoring"]
  relationships: ["all_agents"]
  databases:
    system: "system_db"
    agents: "agents_db"
    monitoring: "monitoring_db"
`;
const OPTIONAL_SETTINGS = `orchestrator:
  update_interval: 60
  monitoring_interval: 300
  alert_thresholds:
    system_load: 0.8
    agent_health: 0.9
    resource_usage: 0.7
    communication_latency: 1000
`;

const listener = {
  maxConnections: 20_000,
  maxConnectionsPerAddress: 10_000,
  helloTimeoutMs: 10_000,
  tls: undefined,
};

const DEFAULTS: Config = {
  id: 'orchestrator-1',
  name: 'Orchestrator',
  capabilities: ['system_coordination', 'agent_management', 'monitoring', 'resource_management'],
  relationships: ['all_agents'],
  databases: { system: 'system_db', agents: 'agents_db', monitoring: 'monitoring_db' },
  store: 'lmdb:./data',
  redis: {
    ...{ minReplicas: 0, waitTimeoutMs: 1_000, keyPrefix: 'orchestrator' },
    ...{ sentinelUser: '', sentinelPassword: '' },
  },
  updateIntervalMs: 60_000,
  monitoringIntervalMs: 300_000,
  alertThresholds: { systemLoad: 0.8, agentHealth: 0.9, resourceUsage: 0.7, communicationLatencyMs: 1_000 },
  grpc: { listen: '127.0.0.1:50051', ...listener, maxStreamsPerConnection: 1_000 },
  http: { listen: '127.0.0.1:50080', ...listener },
  session: {
    pingIntervalMs: 5_000,
    maxPingsPerSecond: 2_000,
    leaseMs: 30_000,
    reconnectGraceMs: 30_000,
    recoveryGraceMs: 60_000,
    suspectPhi: 5,
    outboundWindowBytes: 262_144,
    drainTimeoutMs: 10_000,
    flushIntervalMs: 10_000,
    progressBudgetMs: 0,
    maxAgeMs: 0,
    rebalanceAfterMs: 300_000,
  },
  deliveries: { acceptWithinMs: 10_000, maxTries: 5, expireAfterMs: 86_400_000, drainDeadlineMs: 600_000 },
  failures: {
    onLoss: 'release',
    releaseAfterMs: 0,
    restartOnLoss: 'yes',
    restartMinBackoffMs: 1_000,
    restartMaxBackoffMs: 300_000,
    restartMaxAttempts: 10,
    restartResetAfterMs: 600_000,
    quarantine: 'on',
    quarantineMaxFailures: 5,
    quarantineWindowMs: 600_000,
    quarantineCoolOffMs: 600_000,
    quarantinesPerMinute: 10,
  },
  brake: { share: 0.5, minFailures: 5, holdMs: 1_800_000, ratePerSecond: 1 },
  limits: {
    maxReceivers: 10_000,
    maxCalls: 2_000,
    maxSubscriptions: 10_000,
    maxOperations: 16,
    maxLinkPolicies: 256,
    maxLinks: 10_000,
    maxTasks: 200_000,
    maxAllocations: 100_000,
    maxQuotas: 1_000,
    maxLocks: 100_000,
    maxLockWaiters: 1_000,
    maxMailbox: 1_000,
    maxMessageBytes: 1_048_576,
    maxAgents: 100_000,
    maxNamespaces: 1_000,
    maxSessions: 20_000,
    maxWatches: 1_000,
    watchBuffer: 10_000,
    maxUnaryInFlight: 2_000,
  },
  tasks: {
    strategy: 'least_loaded',
    defaultSlots: 1,
    maxAttempts: 3,
    agingMs: 60_000,
    reserveAfterMs: 30_000,
    retentionMs: 604_800_000,
  },
  history: {
    sampleIntervalMs: 10_000,
    rawMs: 21_600_000,
    minutesMs: 1_209_600_000,
    hoursMs: 34_560_000_000,
    agentsMs: 604_800_000,
  },
  alerts: { rules: [], sinks: [], retentionMs: 604_800_000, resendMs: 60_000 },
  services: [],
  report: { at: '06:00' },
  resources: {
    overcommit: [],
    onShrink: 'keep',
    rebalanceIntervalMs: 0,
    rebalanceMode: 'report',
    usageHigh: 1.25,
    usageLow: 0.1,
  },
  events: { retentionMs: 604_800_000 },
  shutdown: { spreadMs: 2_000, timeoutMs: 15_000 },
  log: { level: 'info', format: 'auto' },
};

/** The required block names three parts; what it leaves out is off. */
const AS_REQUIRED: Config = {
  ...DEFAULTS,
  capabilities: ['system_coordination', 'agent_management', 'monitoring'],
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'orchestrator-config-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(content: string | Uint8Array): string {
  const file = join(folder, 'orchestrator.yaml');
  writeFileSync(file, content);
  return file;
}

function load(yaml: string, options: Partial<LoadOptions> = {}) {
  return loadConfig({ file: write(yaml), env: {}, flags: {}, ...options });
}

/** The faults as lines, with the folder of the file cut away. */
function faultsOf(attempt: () => unknown): string[] {
  try {
    attempt();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return formatConfigError(error).replaceAll(`${folder}/`, '').split('\n');
  }
  throw new Error('nothing was found wrong');
}

describe('loading', () => {
  it('gives every key of Config its default when nothing is set', () => {
    expect(loadConfig({ env: {}, flags: {} })).toEqual({ config: DEFAULTS, sources: {} });
  });

  it('loads the required settings of the requirements as they stand', () => {
    const { config, sources } = load(REQUIRED_SETTINGS);
    expect(config).toEqual(AS_REQUIRED);
    expect(sources).toMatchObject({
      id: `file:${folder}/orchestrator.yaml:2`,
      'databases.monitoring': `file:${folder}/orchestrator.yaml:9`,
    });
  });

  it('loads the optional settings of the requirements as they stand', () => {
    const { config, sources } = load(OPTIONAL_SETTINGS);
    expect(config).toEqual(DEFAULTS);
    expect(Object.keys(sources)).toEqual([
      'update_interval',
      'monitoring_interval',
      'alert_thresholds.system_load',
      'alert_thresholds.agent_health',
      'alert_thresholds.resource_usage',
      'alert_thresholds.communication_latency',
    ]);
  });

  it('loads both blocks of the requirements under one key', () => {
    const merged = REQUIRED_SETTINGS + OPTIONAL_SETTINGS.replace('orchestrator:\n', '');
    const { config, sources } = load(merged);
    expect(config).toEqual(AS_REQUIRED);
    expect(Object.keys(sources)).toHaveLength(13);
  });

  it('takes the requirements’ keys for what they mean', () => {
    const { config } = load(`orchestrator:
  capabilities: ["monitoring"]
  relationships: ["team=red,tier in (a, b),!old", "kind"]
  databases: { monitoring: "redis://user:pw@metrics:6380" }
  update_interval: 90
  alert_thresholds: { communication_latency: 250 }
  resources: { overcommit: ["cpu_milli=1.5", "memory_bytes=1.2"] }
`);
    expect(config.resources.overcommit).toEqual(['cpu_milli=1.5', 'memory_bytes=1.2']);
    expect(factorsOf(config.resources.overcommit)).toEqual({ cpu_milli: 1.5, memory_bytes: 1.2 });
    expect(config.capabilities).toEqual(['monitoring']);
    expect(config.relationships).toEqual(['team=red,tier in (a, b),!old', 'kind']);
    expect(config.databases.monitoring).toBe('redis://user:pw@metrics:6380');
    expect(config.updateIntervalMs).toBe(90_000);
    expect(config.alertThresholds.communicationLatencyMs).toBe(250);
  });

  it('lets the environment win over the file and flags over both', () => {
    const yaml = 'orchestrator: { grpc: { listen: "a:1" }, http: { listen: "b:2" }, log: { level: debug } }';
    const { config, sources } = load(yaml, {
      env: { ORCHESTRATOR_GRPC_LISTEN: 'c:3', ORCHESTRATOR_HTTP_LISTEN: 'd:4', PATH: '/bin' },
      flags: { 'http.listen': '[::1]:5', '--session.ping-interval': '250ms' },
    });
    expect([config.grpc.listen, config.http.listen, config.log.level, config.session.pingIntervalMs]).toEqual(
      ['c:3', '[::1]:5', 'debug', 250],
    );
    expect(sources).toEqual({
      'grpc.listen': 'env:ORCHESTRATOR_GRPC_LISTEN',
      'http.listen': 'flag:--http.listen',
      'log.level': `file:${folder}/orchestrator.yaml:1`,
      'session.ping_interval': 'flag:--session.ping-interval',
    });
  });

  it('finds the file by ORCHESTRATOR_CONFIG and ignores what Kubernetes and the commands set', () => {
    const env = {
      ORCHESTRATOR_CONFIG: write('orchestrator: { id: from-file }'),
      ORCHESTRATOR_SERVICE_HOST: '10.0.0.1',
      ORCHESTRATOR_PORT_50051_TCP_ADDR: '10.0.0.1',
      ORCHESTRATOR_GRPC_SERVICE_PORT: '50051',
      ORCHESTRATOR_AGENT_TOKEN: 'x',
      ORCHESTRATOR_LOG_LEVEL: '',
    };
    expect(loadConfig({ env, flags: {} }).config).toMatchObject({ id: 'from-file', log: { level: 'info' } });
  });

  it.each([
    ['ORCHESTRATOR_CAPABILITIES', 'monitoring, agent_management', ['monitoring', 'agent_management']],
    ['ORCHESTRATOR_RELATIONSHIPS', 'a=b,c in (d,e); !f', ['a=b,c in (d,e)', '!f']],
    ['ORCHESTRATOR_LIMITS_MAX_AGENTS', '5e3', 5_000],
    ['ORCHESTRATOR_UPDATE_INTERVAL', '120', 120_000],
    ['ORCHESTRATOR_EVENTS_RETENTION', '1d12h', 129_600_000],
    ['ORCHESTRATOR_ALERT_THRESHOLDS_COMMUNICATION_LATENCY', '2s', 2_000],
    ['ORCHESTRATOR_ALERT_THRESHOLDS_SYSTEM_LOAD', '.5', 0.5],
    ['ORCHESTRATOR_SESSION_MAX_AGE', '0', 0],
  ])('reads %s=%s', (name, text, expected) => {
    const { config } = loadConfig({ env: { [name]: text }, flags: {} });
    const key = KEYS.find(({ path }) => envName(path) === name);
    const value = configPath(key ?? never()).reduce<unknown>((at, part) => (at as never)[part], config);
    expect(value).toEqual(expected);
  });

  it('freezes the outcome through and through', () => {
    const { config } = load(REQUIRED_SETTINGS);
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      (Object.isFrozen(value) && Object.values(value).every(frozen));
    expect(frozen(config)).toBe(true);
  });

  it('gives each key a variable of its own', () => {
    expect(new Set(KEYS.map(({ path }) => envName(path))).size).toBe(KEYS.length);
  });
});

describe('mistakes', () => {
  it('are all told at once, each with its place', () => {
    const yaml = `orchestrator:
  idd: x
  update_interval: soon
  alert_thresholds:
    system_load: 1.5
  grpc:
    listen: ":50051"
    max_conections: 5
    tls: { cert_file: a.pem }
  session: { lease: 10s }
  capabilities: [monitoring, montoring]
monitoring: true
`;
    const attempt = () =>
      load(yaml, {
        env: { ORCHESTRATOR_GRCP_LISTEN: 'x:1', ORCHESTRATOR_LIMITS_MAX_AGENTS: 'many' },
        flags: { 'http.listn': 'a:1', 'http.listen': '50080' },
      });
    expect(faultsOf(attempt)).toEqual([
      'orchestrator.yaml:2:3: idd: unknown key; did you mean id?',
      'orchestrator.yaml:8:5: grpc.max_conections: unknown key; did you mean max_connections?',
      'orchestrator.yaml:12:1: unknown key "monitoring"',
      'ORCHESTRATOR_GRCP_LISTEN: unknown environment variable; did you mean ORCHESTRATOR_GRPC_LISTEN?',
      '--http.listn: unknown flag; did you mean --http.listen?',
      'orchestrator.yaml:3:20: update_interval: must be a number of seconds or a duration such as "500ms", "5s", "2m", "1h" or "7d", not the text "soon"',
      'orchestrator.yaml:5:18: alert_thresholds.system_load: must be from 0 to 1, not 1.5',
      'orchestrator.yaml:7:13: grpc.listen: must be "host:port" or "[IPv6]:port" with a port from 0 to 65535, not ":50051"; for all addresses write 0.0.0.0:50051 or [::]:50051',
      'orchestrator.yaml:11:17: capabilities: "montoring" is not one of system_coordination, agent_management, monitoring, resource_management; did you mean monitoring?',
      'ORCHESTRATOR_LIMITS_MAX_AGENTS: limits.max_agents: must be a whole number from 1 to 10000000, not the text "many"',
      '--http.listen: http.listen: must be "host:port" or "[IPv6]:port" with a port from 0 to 65535, not "50080"; did you mean 127.0.0.1:50080?',
      'orchestrator.yaml:10:21: session.lease: must be at least three times session.ping_interval, which makes 15s',
      'orchestrator.yaml:9:23: grpc.tls.cert_file: needs grpc.tls.key_file beside it',
    ]);
  });

  it.each([
    ['a: b: c', /^orchestrator.yaml:1:\d+: is not valid YAML/],
    ['orchestrator: {id: a, id: b}', 'orchestrator.yaml:1:23: this key stands there twice'],
    [
      'orchestrator: {session: {lease: 30s}, "session": {}}',
      'orchestrator.yaml:1:39: this key stands there twice',
    ],
    ['a: 1\n---\nb: 2', /the file must hold one YAML document/],
    ['- a', 'orchestrator.yaml:1:1: must be a mapping with the key orchestrator'],
    ['session: {}', 'orchestrator.yaml:1:1: unknown key "session"; it belongs under "orchestrator:"'],
    ['orchestrator: 5', 'orchestrator.yaml:1:15: must be a section with keys of its own'],
    ['orchestrator: { grpc: x }', 'orchestrator.yaml:1:23: grpc: must be a section with keys of its own'],
    ['orchestrator: { id: }', 'orchestrator.yaml:1:17: id: has no value'],
    ['orchestrator: { id: 7 }', 'orchestrator.yaml:1:21: id: must be text, not 7 (put it in quotes)'],
    ['orchestrator: { id: {} }', 'orchestrator.yaml:1:21: id: must be a single value, not a section'],
    ['orchestrator: { id: *a }', /is not valid YAML|anchor that does not exist/],
    ['orchestrator: { id: "a b" }', /must hold only letters/],
    ['orchestrator: { limits: { max_agents: "5" } }', /must be a whole number .*, not the text "5"/],
    ['orchestrator: { limits: { max_agents: 1.5 } }', /must be a whole number .*, not 1.5/],
    ['orchestrator: { limits: { max_agents: .nan } }', /must be a whole number .*, not NaN/],
    ['orchestrator: { session: { lease: -5 } }', /must be a number of seconds or a duration/],
    ['orchestrator: { session: { max_age: 5ms } }', /must be 0 or from 1s to 30d, not 5ms/],
    ['orchestrator: { capabilities: monitoring }', /must be a list such as/],
    ['orchestrator: { capabilities: [] }', /must not be empty/],
    ['orchestrator: { capabilities: [monitoring, monitoring] }', /stands there twice/],
    ['orchestrator: { relationships: ["a in b"] }', /neither all_agents nor a label selector/],
    [
      'orchestrator: { resources: { overcommit: ["cpu_milli"] } }',
      /resources\.overcommit.*"cpu_milli" is not a name, "=" and a number/,
    ],
    [
      'orchestrator: { resources: { overcommit: ["cpu_milli=0.5", "a=101"] } }',
      /"cpu_milli=0\.5" must have a factor from 1 to 100; "a=101" must/,
    ],
    ['orchestrator: { resources: { overcommit: ["a=2", "a=3"] } }', /"a" stands there twice/],
    ['orchestrator: { resources: { overcommit: "a=2" } }', /must be a list such as \["cpu_milli=1\.5"\]/],
    ['orchestrator: { resources: { overcommit: [2] } }', /2 is not text/],
    ['orchestrator: { store: "mysql://x" }', /must be lmdb:<directory>, redis:/],
    ['orchestrator: { store: "redis://h:1/3" }', /must not choose a database number/],
    ['orchestrator: { store: "lmdb:" }', /must name a directory/],
    ['orchestrator: { store: "redis+sentinel://h:1,h:2" }', /must end in the name that Sentinel has/],
    ['orchestrator: { store: "redis+sentinel://h:1,:2/m" }', /names a host that is none/],
    ['orchestrator: { store: "redis://h:1,h:2" }', /names several hosts/],
    ['orchestrator: { redis: { sentinel_password: x } }', /needs a store at redis\+sentinel/],
    [
      'orchestrator: { redis: { sentinel_password: 48151623 } }',
      'orchestrator.yaml:1:45: redis.sentinel_password: must be text, not what is there (put it in quotes)',
    ],
    ['orchestrator: { databases: { agents: "a b" } }', /must be a name .* or a store URL/],
    ['orchestrator: { databases: { agents: system_db } }', /must differ from databases.system/],
    ['orchestrator: { redis: { min_replicas: 1 } }', /needs a Redis store/],
    ['orchestrator: { shutdown: { timeout: 1s } }', /shutdown.spread must not be longer than/],
    ['orchestrator: { http: { listen: "127.0.0.1:50051" } }', /must differ from grpc.listen/],
    ['orchestrator: { http: { tls: { key_file: k } } }', /needs http.tls.cert_file beside it/],
    [
      'orchestrator: { lease: 5s }',
      'orchestrator.yaml:1:17: lease: unknown key; did you mean session.lease?',
    ],
    ['orchestrator: { ? [a, b] : 1 }', /holds a key that is not a word/],
    ['orchestrator: { id: !secret x }', /is not valid YAML: Unresolved tag/],
  ])('in %j are told', (yaml, expected) => {
    const faults = faultsOf(() => load(yaml));
    expect(faults).toHaveLength(1);
    if (typeof expected === 'string') expect(faults[0]).toBe(expected);
    else expect(faults[0]).toMatch(expected);
  });

  it.each([
    '::1:50051',
    '[::1]',
    '[::1]:',
    'host',
    'host:65536',
    '256.1.1.1:1',
    '[1.2.3.4]:5',
    'a b:1',
    '-a:1',
    '',
    'h:-1',
  ])('refuse the address %j', (listen) => {
    expect(
      faultsOf(() => load(`orchestrator: { grpc: { listen: ${JSON.stringify(listen)} } }`)),
    ).toHaveLength(1);
  });

  it.each(['[::]:0', '[fe80::1]:50051', '0.0.0.0:50051', 'localhost:0', 'a-b.example.com:1'])(
    'do not include the address %j',
    (listen) => {
      const { config } = load(`orchestrator: { grpc: { listen: ${JSON.stringify(listen)} } }`);
      expect(config.grpc.listen).toBe(listen);
    },
  );

  it('name a file that is missing, a directory, too large or not text', () => {
    const attempt = (file: string) => faultsOf(() => loadConfig({ file, env: {}, flags: {} }));
    expect(attempt(join(folder, 'none.yaml'))).toEqual(['none.yaml: does not exist']);
    expect(attempt(folder)).toEqual([`${folder}: is a directory`]);
    expect(attempt(write('#'.repeat(70_000)))).toEqual(['orchestrator.yaml: is larger than 64 KiB']);
    expect(attempt(write(Uint8Array.of(0x69, 0xff)))).toEqual(['orchestrator.yaml: is not UTF-8 text']);
  });

  it('never repeat a password', () => {
    const secret = 'hunter2';
    const url = `redis://u:${secret}@h:1/9?x=${secret}`;
    const texts = [
      `orchestrator: { store: "${url}", databases: { agents: "${url}" } }`,
      `orchestrator: { "${url}": 1 }`,
      `"${url}": 1`,
      `orchestrator: { store: "redis:${secret}" }`,
      `orchestrator: { store: "redis+sentinel://u:${secret}@h:1,h:2" }`,
      `orchestrator: { redis: { sentinel_password: ${secret} } }`,
      `orchestrator: { redis: { sentinel_password: [${secret}] } }`,
      `orchestrator: { store: ${secret}: }: }`,
      `orchestrator: { log: { level: "${url}" } }`,
    ];
    for (const yaml of texts) expect(faultsOf(() => load(yaml)).join('\n')).not.toContain(secret);
    const env = { ORCHESTRATOR_STORE: url };
    expect(faultsOf(() => loadConfig({ env, flags: { store: url } })).join('\n')).not.toContain(secret);
  });
});

function never(): never {
  throw new Error('no such key');
}
