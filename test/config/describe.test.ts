import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { describeConfig } from '../../src/config/describe.ts';
import { loadConfig } from '../../src/config/load.ts';
import { configReference, configReferenceMarkdown } from '../../src/config/reference.ts';
import { parseValue } from '../../src/config/values.ts';
import { parseConfigText } from '../../src/config/yaml-file.ts';

describe('describing', () => {
  it('blanks passwords, also those that look like no password', () => {
    const env = {
      ORCHESTRATOR_STORE: 'redis://:hunter2@h:1',
      ORCHESTRATOR_DATABASES_AGENTS: 'rediss://user:hunter%402@h',
      ORCHESTRATOR_DATABASES_SYSTEM: 'redis://hunter2@h',
      ORCHESTRATOR_DATABASES_MONITORING: 'rediss+sentinel://me:hunter2@[::1],b:2/main',
      ORCHESTRATOR_REDIS_SENTINEL_USER: 'me',
      ORCHESTRATOR_REDIS_SENTINEL_PASSWORD: 'hunter2',
    };
    const { config, sources } = loadConfig({ env, flags: {} });
    const described = describeConfig(config, sources);
    expect(described.config).toMatchObject({
      store: 'redis://:***@h:1',
      databases: {
        agents: 'rediss://user:***@h',
        system: 'redis://***@h',
        monitoring: 'rediss+sentinel://me:***@[::1],b:2/main',
      },
      redis: { sentinel_user: 'me', sentinel_password: '***' },
    });
    expect(JSON.stringify(described)).not.toContain('hunter');
    expect(described.sources).toEqual(sources);
  });

  it('writes values so that they load again to the same configuration', () => {
    const flags = {
      'session.ping-interval': '1500ms',
      'events.retention': '36h',
      'grpc.tls.cert-file': 'a.pem',
      'grpc.tls.key-file': 'b.pem',
      update_interval: '2m',
      'alert-thresholds.communication-latency': '1s',
      relationships: 'a in (b,c); d',
    };
    const { config, sources } = loadConfig({ env: {}, flags });
    const yaml = stringify({ orchestrator: describeConfig(config, sources).config });
    const { values, faults } = parseConfigText(yaml, 'shown.yaml');
    expect(faults).toEqual([]);
    const again = Object.fromEntries(
      values.flatMap(({ key, raw }) =>
        key.kind === 'blocks' ? [] : [[key.path, parseValue(key, raw, true)]],
      ),
    );
    expect(again['session.ping_interval']).toEqual({ value: 1_500 });
    expect(again['events.retention']).toEqual({ value: 129_600_000 });
    expect(again.update_interval).toEqual({ value: 120_000 });
    expect(again['alert_thresholds.communication_latency']).toEqual({ value: 1_000 });
    expect(again.relationships).toEqual({ value: ['a in (b,c)', 'd'] });
    expect(Object.values(again).filter((value) => 'fault' in value)).toEqual([]);
    expect(values).toHaveLength(configReference().length - 2);
  });
});

describe('docs/configuration.md', () => {
  it('is what the schema says', async () => {
    await expect(configReferenceMarkdown()).toMatchFileSnapshot('../../docs/configuration.md');
  });
});
