import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { describeConfig } from '../../../src/config/describe.ts';
import { ConfigError, formatConfigError } from '../../../src/config/errors.ts';
import { type LoadOptions, loadConfig } from '../../../src/config/load.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'orchestrator-blocks-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(yaml: string, options: Partial<LoadOptions> = {}) {
  const file = join(folder, 'f.yaml');
  writeFileSync(file, yaml);
  return loadConfig({ file, env: {}, flags: {}, ...options });
}

function faultsOf(attempt: () => unknown): string[] {
  try {
    attempt();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return formatConfigError(error).replaceAll(`${folder}/`, '').split('\n');
  }
  throw new Error('nothing was found wrong');
}

const WHOLE = `orchestrator:
  alerts:
    rules:
      - name: zone_health
        metric: agent_health
        scope: zone
        selector: name in (eu-1, eu-2)
        below: 0.7
        clear: 0.8
        for: 30s
        clear_for: 1m
        no_data: fire
        severity: critical
        labels: { team: fleet }
        description: |
          Look at the zone.
          Then at its agents.
        runbook_url: https://example.com/zone
        sinks: [hook]
        namespaces: [default]
      - name: system_load
        above: 0.6
      - { name: lost_often, events: [agent.lost], clear_events: [agent.recovered], event_count: 3, event_window: 10m }
      - { name: agent_lost, disabled: true }
    sinks:
      - { name: hook, kind: webhook, url: "https://me:hunter2@h/T0/hunter2?k=hunter2", secret: hunter2-hunter2, headers: { X-Key: hunter2 }, events: ["agent.*"] }
      - { name: am, kind: alertmanager, url: "http://127.0.0.1:9093", min_severity: warning }
      - { name: page, kind: command, command: [/usr/bin/page, -v, -v], timeout: 2s }
  services:
    - { name: db, probe: tcp, target: "db:5432", interval: 5s, timeout: 1s, failures: 3 }
    - { name: gateway, probe: http, target: "https://u:hunter2@llm/health?k=hunter2", expect_status: 204, headers: { Authorization: hunter2 } }
    - { name: cache, probe: redis, target: "redis://:hunter2@c:6379", description: Where results are kept }
    - { name: embedder, probe: grpc, target: "grpcs://e:443/my.Embedder" }
`;

describe('lists of blocks', () => {
  it('are read into rules, sinks and services with their defaults', () => {
    const { config, sources } = load(WHOLE);
    expect(config.alerts.rules).toEqual([
      {
        name: 'zone_health',
        metric: 'agent_health',
        scope: 'zone',
        selector: 'name in (eu-1, eu-2)',
        below: 0.7,
        clear: 0.8,
        forMs: 30_000,
        clearForMs: 60_000,
        noData: 'fire',
        severity: 'critical',
        labels: { team: 'fleet' },
        description: 'Look at the zone.\nThen at its agents.',
        runbookUrl: 'https://example.com/zone',
        sinks: ['hook'],
        namespaces: ['default'],
      },
      { name: 'system_load', above: 0.6 },
      {
        name: 'lost_often',
        events: ['agent.lost'],
        clearEvents: ['agent.recovered'],
        eventCount: 3,
        eventWindowMs: 600_000,
      },
      { name: 'agent_lost', disabled: true },
    ]);
    const defaults = { timeoutMs: 5_000, retryMinMs: 1_000, retryMaxMs: 60_000, alerts: true };
    expect(config.alerts.sinks[1]).toEqual({
      name: 'am',
      kind: 'alertmanager',
      url: 'http://127.0.0.1:9093',
      ...defaults,
      minSeverity: 'warning',
      events: [],
      namespaces: [],
    });
    expect(config.alerts.sinks[2]?.command).toEqual(['/usr/bin/page', '-v', '-v']);
    expect(config.services[0]).toEqual({
      name: 'db',
      probe: 'tcp',
      target: 'db:5432',
      intervalMs: 5_000,
      timeoutMs: 1_000,
      slowMs: 1_000,
      failures: 3,
      expectStatus: [200, 399],
      description: '',
    });
    expect(config.services[1]?.expectStatus).toEqual([204, 204]);
    expect(sources['alerts.rules']).toBe(`file:${folder}/f.yaml:4`);
    expect(Object.isFrozen(config.services[1]?.headers)).toBe(true);
  });

  it('are described as they were written, without their secrets, and load again', () => {
    const { config, sources } = load(WHOLE);
    const described = describeConfig(config, sources).config;
    expect(JSON.stringify(described)).not.toContain('hunter2');
    expect(described).toMatchObject({
      alerts: {
        rules: [
          { for: '30s', labels: { team: 'fleet' } },
          { name: 'system_load', above: 0.6 },
          { name: 'lost_often' },
          { name: 'agent_lost', disabled: true },
        ],
        sinks: [{ url: 'https://me:***@h/***?***', secret: '***', headers: { 'X-Key': '***' } }, {}, {}],
      },
      services: [{}, { target: 'https://u:***@llm/health?***' }, { target: 'redis://:***@c:6379' }, {}],
    });
    const { alerts, services } = load(
      stringify({ orchestrator: described }).replaceAll('"***"', 'hunter2-hunter2'),
    ).config;
    expect(alerts.rules).toEqual(config.alerts.rules);
    expect(services[0]).toEqual(config.services[0]);
  });

  it('let a rule of a metric that only replicas have be one of replicas', () => {
    const { config } = load('orchestrator: { alerts: { rules: [{ name: r, metric: cpu, above: 2 }] } }');
    expect(config.alerts.rules).toEqual([{ name: 'r', metric: 'cpu', scope: 'replica', above: 2 }]);
  });

  it('come from a variable or flag as JSON or YAML, in place of the list of the file', () => {
    const { config, sources } = load(WHOLE, {
      env: { ORCHESTRATOR_SERVICES: '[{"name":"db","probe":"tcp","target":"db:1"}]' },
      flags: { 'alerts.sinks': '- { name: hook, kind: log }' },
    });
    expect(config.services.map(({ target }) => target)).toEqual(['db:1']);
    expect(config.alerts.sinks.map(({ name, kind }) => [name, kind])).toEqual([['hook', 'log']]);
    expect(sources.services).toBe('env:ORCHESTRATOR_SERVICES');
  });

  it('tell every mistake of every block at once, with its path and place', () => {
    const yaml = `orchestrator:
  alerts:
    rules:
      - nam: x
        metric: agent_heath
        below: low
      - name: a b
        metric: system_load
        above: 0.8
        below: 0.2
      - name: ok
        metric: communication_latency
        scope: replica
        above: 100
        clear: 200
        sinks: [hok, hook]
        labels: { alertname: x, "team!": y, team: 5 }
      - { name: ok, events: [Agent.Lost, agent.lost, agent.lost] }
      - plain
    sinks:
      - { name: hook, kind: webhok, url: "ftp://hunter2", timeout: 2m }
      - { name: cmd, kind: command, url: "http://h", retry_min: 2m, retry_max: 1m }
  services:
    - { name: db, probe: tcp, target: db, headers: { Host: x } }
    - { probe: redis, target: "redis://u:hunter2@h:1/4", interval: 1s, timeout: 2s, slow: 5s }
`;
    expect(faultsOf(() => load(yaml))).toEqual([
      'f.yaml:4:9: alerts.rules[0].nam: unknown key; did you mean name?',
      'f.yaml:5:17: alerts.rules[0].metric: "agent_heath" is not a metric; did you mean agent_health?',
      'f.yaml:6:16: alerts.rules[0].below: must be a number from -1000000000000000 to 1000000000000000, not the text "low"',
      'f.yaml:4:9: alerts.rules[0].name: is missing: every rule must have it',
      'f.yaml:7:15: alerts.rules[1].name: must hold at most 64 letters, digits, ".", "_" and "-" and start with a letter or digit, not "a b"',
      'f.yaml:10:16: alerts.rules[1].below: cannot stand beside above: a rule has one of both',
      'f.yaml:17:19: alerts.rules[2].labels.alertname: is a label that every alert or its subject has by itself',
      'f.yaml:17:33: alerts.rules[2].labels."team!": is not a name of letters, digits and "_" that starts with a letter',
      'f.yaml:17:51: alerts.rules[2].labels.team: must be text, not 5 (put it in quotes)',
      'f.yaml:15:16: alerts.rules[2].clear: is on the wrong side: it must not be above the threshold 100',
      'f.yaml:13:16: alerts.rules[2].scope: must be fleet, zone, agent for the metric communication_latency, not replica',
      'f.yaml:18:30: alerts.rules[3].events[0]: "Agent.Lost" is not a type of events such as "agent.lost" or "agent.*"',
      'f.yaml:18:54: alerts.rules[3].events[2]: "agent.lost" stands there twice',
      'f.yaml:18:29: alerts.rules[3].events: needs clear_events or expire_after beside it, or its alerts would never end',
      'f.yaml:19:9: alerts.rules[4]: must be a rule with fields of its own',
      'f.yaml:18:17: alerts.rules[3].name: another rule has this name: alerts.rules[2]',
      'f.yaml:21:29: alerts.sinks[0].kind: "webhok" is not one of webhook, alertmanager, command, log; did you mean webhook?',
      'f.yaml:21:42: alerts.sinks[0].url: must be a URL: http://host[:port]/path or https://…',
      'f.yaml:21:68: alerts.sinks[0].timeout: must be from 100ms to 1m, not 2m',
      'f.yaml:22:80: alerts.sinks[1].retry_max: retry_max must not be shorter than retry_min',
      'f.yaml:22:42: alerts.sinks[1].url: belongs to webhook and alertmanager, not to command',
      'f.yaml:22:9: alerts.sinks[1].command: is missing',
      'f.yaml:24:54: services[0].headers.Host: is a header that every request has by itself',
      'f.yaml:24:39: services[0].target: must be "host:port" or "[IPv6]:port"',
      'f.yaml:24:52: services[0].headers: belongs to http, not to tcp',
      'f.yaml:25:7: services[1].name: is missing: every service must have it',
      'f.yaml:25:31: services[1].target: must not choose a database number: keys are kept apart by redis.key_prefix',
      'f.yaml:25:68: services[1].interval: interval must not be shorter than timeout',
      'f.yaml:25:91: services[1].slow: must not be longer than timeout: it would never be slow, only silent',
      'f.yaml:16:16: alerts.rules[2].sinks[0]: there is no sink "hok" in alerts.sinks; did you mean hook?',
    ]);
  });

  const rule = (fields: string) => `orchestrator: { alerts: { rules: [{ name: r, ${fields} }] } }`;
  const sink = (fields: string) => `orchestrator: { alerts: { sinks: [{ name: s, ${fields} }] } }`;
  const service = (fields: string) => `orchestrator: { services: [{ name: s, ${fields} }] }`;
  it.each([
    ['orchestrator: { services: }', 'f.yaml:1:17: services: has no value'],
    ['orchestrator: { services: x }', /services: must be a list of services/],
    ['orchestrator: { services: { a: 1 } }', /services: must be a list of services/],
    [`orchestrator: { services: [${'{},'.repeat(65)}] }`, /must have at most 64 services/],
    [rule('severity: warning'), /r?ules\[0\]\.metric: is missing: a rule has a metric or events/],
    [rule('metric: cpu, events: [a.b]'), /events: cannot stand beside a metric/],
    [rule('metric: cpu'), /above: is missing: a rule of a metric has above or below/],
    [rule('metric: cpu, above: .inf'), /above: must be a number from/],
    [rule('metric: cpu, above: 1, clear_events: [a.b]'), /clear_events: belongs to rules of events/],
    [rule('events: [a.b], expire_after: 1m, above: 1'), /above: belongs to rules of a metric/],
    [rule('events: [a.b], expire_after: 1m, event_count: 5'), /event_count: needs event_window/],
    [rule('events: [a.b], expire_after: 1m, event_window: 5m'), /event_window: needs event_count/],
    [rule('events: [], expire_after: 1m'), /events: must have 1 to 32 items, not 0/],
    [rule('events: agent.lost, expire_after: 1m'), /events: must be a list of texts, not the text/],
    [rule('metric: cpu, above: 1, resource: gpu'), /resource: cannot be: the metric cpu is of no resource/],
    [rule('metric: system_load, above: 1, selector: a=b'), /selector: cannot be: there is one fleet/],
    [rule('metric: system_load, scope: zone, above: 1, selector: a=b'), /can only choose by name here.*"a"/],
    [rule('metric: system_load, scope: agent, above: 1, selector: "a in b"'), /not a label selector/],
    [rule('metric: service_up, below: 1, clear: 0.5'), /clear: is on the wrong side.*not be below/],
    [rule('metric: cpu, above: 1, runbook_url: "javascript:alert(1)"'), /runbook_url: must be a URL/],
    [rule('metric: cpu, above: 1, runbook_url: "https://u:p@h"'), /must not hold a user or password/],
    [rule('metric: cpu, above: 1, disabled: 1'), /disabled: must be true or false, not 1/],
    [rule('metric: cpu, above: 1, description: "a\\x00"'), /must not hold control characters/],
    [rule('metric: cpu, above: 1, namespaces: ["a/b"]'), /namespaces\[0\]: "a\/b" is not a namespace/],
    [rule('metric: cpu, above: 1, for: 31d'), /for: must be from 0s to 30d, not 31d/],
    [rule('metric: cpu, above: 1, for:'), 'f.yaml:1:69: alerts.rules[0].for: has no value'],
    [rule('metric: cpu, above: 1, above: 2'), /this key stands there twice/],
    [rule('metric: cpu, above: 1, "above": 2'), /this key stands there twice/],
    [
      'orchestrator: { alerts: { rules: [{ name: agent_lost, above: 1 }] } }',
      /above: belongs to rules of a metric/,
    ],
    [
      'orchestrator: { alerts: { rules: [{ name: system_load, events: [a.b] }] } }',
      /events: belongs to rules of events/,
    ],
    [
      'orchestrator: { alerts: { rules: [{ name: system_load, clear: 0.9 }] } }',
      /clear: is on the wrong side: it must not be above the threshold 0.8/,
    ],
    ['orchestrator: { alerts: { rules: [{ name: store_unavailable, for: 1m }] } }', /for: cannot be changed/],
    [
      'orchestrator: { alerts: { rules: [{ name: service_down, clear: 0.5 }] } }',
      /must not be below the threshold 1/,
    ],
    [sink('kind: webhook'), /url: is missing: a webhook has one/],
    [sink('kind: webhook, url: "http:h"'), /url: must be a URL/],
    [sink('kind: webhook, url: "http://h/#x"'), /url: must have nothing after a "#"/],
    [sink('kind: webhook, url: "http://h", secret: abc'), /secret: must have 8 to 1024 characters, not 3/],
    [sink('kind: webhook, url: "http://h", secret: 12345678'), /must be text, not what is there/],
    [sink('kind: webhook, url: "http://h", secret: 12345678a, secret_file: f'), /secret_file: cannot stand/],
    [sink('kind: webhook, url: "http://h", headers: { "a b": c }'), /"a b": is not the name of a header/],
    [sink('kind: webhook, url: "http://h", headers: { a: "c\\nd" }'), /must not hold control characters/],
    [sink('kind: webhook, url: "http://h", headers: [a]'), /headers: must be names with a text each/],
    [sink('kind: webhook, url: "http://h", alerts: false'), /alerts: is false and no events are named/],
    [sink('kind: alertmanager, url: "http://h", events: ["*"]'), /events: belongs to webhook and log/],
    [sink('kind: command, command: []'), /command: must have 1 to 32 items/],
    [sink('kind: log, command: [a]'), /command: belongs to command, not to log/],
    [service('probe: http, target: "h:80"'), /target: must be a URL/],
    [service('probe: tcp, target: "h:0"'), /target: must be "host:port"/],
    [service('probe: grpc, target: "http://h:1"'), /target: must be "host:port", or grpc:/],
    [service('probe: grpc, target: "grpc://h:1/a/b"'), /names a service that is none/],
    [service('probe: redis, target: "redis+sentinel://h:1/m"'), /must name the server itself/],
    [
      service('probe: http, target: "http://h", expect_status: [500, 200]'),
      /must be a whole number or \[from, to\]/,
    ],
    [service('probe: http, target: "http://h", expect_status: 99'), /each from 100 to 599/],
    ['orchestrator: { report: { at: "24:00" } }', /report.at: must be "HH:MM" from 00:00 to 23:59/],
  ])('in %j tell what is wrong', (yaml, expected) => {
    const faults = faultsOf(() => load(yaml));
    expect(faults).toHaveLength(1);
    if (typeof expected === 'string') expect(faults[0]).toBe(expected);
    else expect(faults[0]).toMatch(expected);
    expect(faults[0]).toMatch(/^f\.yaml:\d+:\d+: /);
  });

  it('place the mistakes of a variable within its text', () => {
    const env = {
      ORCHESTRATOR_SERVICES: '- name: a\n  probe: udp\n  target: x',
      ORCHESTRATOR_ALERTS_SINKS: '[{',
    };
    const flags = { 'alerts.rules': 'x'.repeat(70_000) };
    expect(faultsOf(() => loadConfig({ env, flags }))).toEqual([
      'ORCHESTRATOR_ALERTS_SINKS:1:3: alerts.sinks: is not valid YAML: Flow map in block collection must be sufficiently indented and end with a }',
      'ORCHESTRATOR_ALERTS_SINKS:1:3: alerts.sinks: is not valid YAML: Flow sequence must end with a ]',
      'ORCHESTRATOR_SERVICES:2:10: services[0].probe: "udp" is not one of http, tcp, grpc, redis; did you mean tcp?',
      '--alerts.rules: alerts.rules: is larger than 64 KiB',
    ]);
  });

  it('never repeat a secret in a mistake', () => {
    const secret = 'hunter2';
    const texts = [
      sink(
        `kind: webhook, url: "http://u:${secret}@h/#${secret}", secret: ${secret}, headers: { "${secret} ": "${secret}\\n" }`,
      ),
      sink(`kind: webhook, url: "${secret}", secret: [${secret}], headers: ${secret}`),
      service(`probe: redis, target: "redis://u:${secret}@h:1/9"`),
      service(`probe: grpc, target: "${secret}"`),
      service(`probe: tcp, target: { a: ${secret} }`),
    ];
    for (const yaml of texts) {
      const faults = faultsOf(() => load(yaml)).join('\n');
      expect(faults.replaceAll(`headers."${secret} "`, '')).not.toContain(secret);
    }
  });

  it('that unfold or nest without end are bounded', () => {
    const hostile = [
      `a: &a [${'{},'.repeat(20_000)}]\norchestrator: { services: *a }`,
      `orchestrator: { services: [${'['.repeat(5_000)}${']'.repeat(5_000)}] }`,
      'orchestrator: { services: &a [*a, *a] }',
      `orchestrator: { services: [{${Array.from({ length: 6_000 }, (_, i) => `k${i}: 1`).join(', ')}}] }`,
    ];
    for (const yaml of hostile) {
      const faults = faultsOf(() => load(yaml));
      expect(faults.length).toBeGreaterThan(0);
      expect(faults.length).toBeLessThanOrEqual(202);
    }
  });
});
