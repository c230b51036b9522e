import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { Alert_State, AlertSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  DiagnoseRequestSchema,
  Finding_Severity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { loadConfig } from '../../../../src/config/load.ts';
import type { Check, CheckResult, Scope } from '../../../../src/domain/monitoring/diagnosis/check.ts';
import { verifyAlerts } from '../../../../src/domain/monitoring/diagnosis/checks/alerts.ts';
import { checkConfiguration } from '../../../../src/domain/monitoring/diagnosis/checks/configuration.ts';
import { verifyState } from '../../../../src/domain/monitoring/diagnosis/checks/state.ts';
import { verifyUsage } from '../../../../src/domain/monitoring/diagnosis/checks/usage.ts';
import { checkVersions } from '../../../../src/domain/monitoring/diagnosis/checks/versions.ts';
import { Diagnosis } from '../../../../src/domain/monitoring/diagnosis/diagnosis.ts';
import { parseFileLimit, readDisks, readHost } from '../../../../src/lib/host.ts';
import { silentLogger } from '../../../../src/lib/logger.ts';
import { timestampFromMs } from '../../../../src/lib/proto-time.ts';
import { StoreUnavailableError } from '../../../../src/state/store.ts';
import { Views } from '../../../../src/state/views.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

const S = Finding_Severity;
const WELL: CheckResult = { found: [], well: 'All is well.' };
const warning = (code: string) => ({ code, severity: S.WARNING, summary: `${code}.` });

function check(id: string, run: (scope: Scope) => Promise<CheckResult> = async () => WELL): Check {
  return { id, step: 1, run };
}

function diagnosis(checks: readonly Check[], namespaces: readonly string[] = ['default', 'other']) {
  const made = new Diagnosis({
    ...{ checks, clock: new FakeClock(), log: silentLogger, replicaId: 'one', checkMs: 50, settleMs: 10 },
    namespaces: () => namespaces,
  });
  return (fields: { namespace?: string; checks?: string[] } = {}) =>
    made.run(create(DiagnoseRequestSchema, fields));
}

describe('a diagnosis', () => {
  it('tells of every check, also where all is well, and how bad the worst is', async () => {
    const run = diagnosis([check('a.x'), check('a.y', async () => ({ found: [warning('bad')], well: '' }))]);
    const { findings, severity, replicaId } = await run();
    expect(findings.map(({ check: id, code, severity: each }) => [id, code, each])).toEqual([
      ['a.x', 'ok', S.OK],
      ['a.y', 'bad', S.WARNING],
    ]);
    expect([severity, replicaId]).toEqual([S.WARNING, 'one']);
  });

  it.each([
    [['a.*'], ['a.x', 'a.y']],
    [
      ['b.x', 'a.x'],
      ['a.x', 'b.x'],
    ],
    [['*'], ['a.x', 'a.y', 'b.x']],
  ])('makes only the checks that %j name', async (checks, made) => {
    const run = diagnosis([check('a.x'), check('a.y'), check('b.x')]);
    expect((await run({ checks })).findings.map((finding) => finding.check)).toEqual(made);
  });

  it('refuses a check that there is not, and says which there are', () => {
    const run = diagnosis([check('a.x')]);
    expect(() => run({ checks: ['a.x', 'a.z'] })).toThrow(
      expect.objectContaining({
        reason: ErrorReason.INVALID_FIELDS,
        message: expect.stringContaining('a.x'),
      }),
    );
  });

  it('says of a check that hangs, fails, or needs a store which is away that it could not be made', async () => {
    const run = diagnosis([
      check('a.hangs', () => new Promise(() => {})),
      check('a.fails', async () => {
        throw new Error('secret');
      }),
      check('a.away', async () => {
        throw new StoreUnavailableError({ message: 'gone', outcome: 'not_applied', retryAfterMs: 1 });
      }),
    ]);
    const { findings, severity } = await run();
    expect(findings.map(({ code, severity: each }) => [code, each])).toEqual([
      ['check_not_made', S.UNKNOWN],
      ['check_not_made', S.UNKNOWN],
      ['check_not_made', S.UNKNOWN],
    ]);
    expect(findings.map(({ summary }) => summary).join(' ')).not.toContain('secret');
    expect(severity).toBe(S.UNKNOWN);
  });

  it('ends a check for which nobody waits any more', async () => {
    let ended = false;
    const run = diagnosis([
      check('a.x', async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        ended = true;
        return WELL;
      }),
    ]);
    await run();
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended).toBe(true);
  });

  it('is made once for all who ask the same at the same time, and a few at a time', async () => {
    let runs = 0;
    const release: (() => void)[] = [];
    const slow = (id: string) =>
      check(id, async () => {
        runs += 1;
        await new Promise<void>((resolve) => release.push(resolve));
        return WELL;
      });
    const run = diagnosis(['a.1', 'a.2', 'a.3', 'a.4', 'a.5'].map(slow));
    const same = [run({ checks: ['a.1'] }), run({ checks: ['a.1'] })];
    const others = ['a.2', 'a.3', 'a.4'].map((id) => run({ checks: [id] }));
    expect(() => run({ checks: ['a.5'] })).toThrow(
      expect.objectContaining({ reason: ErrorReason.LIMIT_REACHED }),
    );
    for (const end of release) end();
    await Promise.all([...same, ...others]);
    expect(runs).toBe(4);
  });

  it('looks at one namespace, at all, or at what is the service itself', async () => {
    const seen: [readonly string[], boolean][] = [];
    const run = diagnosis([
      check('a.x', async ({ namespaces, whole }) => {
        seen.push([namespaces, whole]);
        return WELL;
      }),
    ]);
    for (const namespace of ['', 'other', '_system']) await run({ namespace });
    expect(seen).toEqual([
      [['default', 'other'], true],
      [['other'], false],
      [[], true],
    ]);
  });

  it('keeps what it tells bounded: the worst findings, and the beginning of what they say', async () => {
    const many = Array.from({ length: 100 }, (_, at) => ({
      ...warning(`w${at}`),
      severity: at === 99 ? S.CRITICAL : S.WARNING,
      summary: 'x'.repeat(5000),
      evidence: Array.from({ length: 40 }, () => 'y'.repeat(5000)),
      subjects: Array.from({ length: 40 }, (_each, of) => `s${of}`),
    }));
    const { findings } = await diagnosis([check('a.x', async () => ({ found: many, well: '' }))])();
    expect(findings).toHaveLength(32);
    expect(findings[0]?.code).toBe('w99');
    expect(findings.at(-1)?.summary).toContain('69 more');
    expect(findings[0]?.evidence).toHaveLength(16);
    expect(findings[0]?.evidence.at(-1)).toBe('and 25 more');
    expect(findings[0]?.subjects).toHaveLength(16);
    expect(findings[0]?.summary.length).toBe(512);
  });
});

const scope: Scope = {
  ...{ namespaces: [], whole: true, settleMs: 0, breathe: () => undefined },
  signal: new AbortController().signal,
};

describe('usage', () => {
  it('that nobody reserved is told as well as what is reserved', async () => {
    const figures = { resource: 'gpu', capacity: 4, reserved: 0, reservable: 4, used: 2, excess: 0 };
    const pool = { usage: () => ({ agents: [], total: [figures] }) };
    const { well } = await verifyUsage({ ledger: () => ({ pool }) as never, threshold: 0.8 }).run({
      ...scope,
      namespaces: ['default'],
    });
    expect(well).toContain('gpu 0.0 % reserved, 50 % used');
  });
});

describe('alerts', () => {
  it.each([
    ['a minute ago', 61_000, ['alerts_not_told']],
    ['just now', 1000, []],
  ])('that were resolved %s and are not told to every sink', async (_, agoMs, expected) => {
    const storeMs = 10_000_000;
    const alert = create(AlertSchema, {
      ...{ id: 'a-1', rule: 'agent_lost', state: Alert_State.RESOLVED },
      resolveTime: timestampFromMs(storeMs - agoMs),
      deliveries: [{ sink: 'hook', told: 'resolved', done: false, error: 'HTTP 500' }],
    });
    const check = verifyAlerts({
      ...{ open: () => [], untold: () => [alert], rules: () => [], sinks: () => [], storeMs: () => storeMs },
    });
    const { found } = await check.run({ ...scope, whole: false, namespaces: ['default'] });
    expect(found.map(({ code }) => code)).toEqual(expected);
  });
});

describe('the store', () => {
  it('keeps nothing of what was written to try it out', async () => {
    const store = new MemoryStore({ wallMs: () => 0 });
    const views = new Views({ store, views: [], watchBuffer: 10 });
    await views.start();
    const check = verifyState({
      ...{ stores: { agents: store }, views, replicaId: 'one', disks: async () => [], monoMs: () => 0 },
    });
    const { found } = await check.run({ ...scope, settleMs: 100 });
    expect(found.filter(({ code }) => code !== 'store_durability')).toEqual([]);
    expect((await store.scan('_system', { prefix: '~diagnosis/', limit: 10 })).entries).toEqual([]);
  });
});

describe('the configuration', () => {
  const codes = async (flags: Record<string, string>) => {
    const { config } = loadConfig({ env: {}, flags });
    return (await checkConfiguration(config).run(scope)).found.map(({ code, subjects }) => [
      code,
      subjects?.[0],
    ]);
  };

  it('as it comes is not odd', async () => {
    expect(await codes({})).toEqual([]);
  });

  it.each([
    [{ 'session.lease': '21s', 'session.ping-interval': '6s' }, 'configuration_odd', 'session.lease'],
    [{ 'session.recovery-grace': '5s' }, 'configuration_odd', 'session.recovery_grace'],
    [{ 'deliveries.expire-after': '20s' }, 'configuration_odd', 'deliveries.expire_after'],
    [{ 'grpc.listen': '0.0.0.0:50051' }, 'listener_without_tls', 'grpc.listen'],
  ])('%j is told as %s', async (flags, code, subject) => {
    expect(await codes(flags as Record<string, string>)).toContainEqual([code, subject]);
  });
});

describe('the host', () => {
  it('tells its open files, their limit, and the disk of a directory', async () => {
    const { openFiles, maxFiles, nodeVersion } = await readHost();
    expect(nodeVersion).toBe(process.version);
    if (process.platform === 'linux') {
      expect(openFiles).toBeGreaterThan(0);
      expect(maxFiles ?? Number.POSITIVE_INFINITY).toBeGreaterThanOrEqual(openFiles ?? 0);
    }
    const [disk] = await readDisks(['.', '/there/is/no/such/directory']);
    expect(disk?.totalBytes).toBeGreaterThan(disk?.freeBytes ?? 0);
  });

  it.each([
    ['Max open files            1024                 4096                 files', 1024],
    ['Max open files            unlimited            unlimited            files', undefined],
    ['', undefined],
  ])('reads the limit of %j', (text, limit) => {
    expect(parseFileLimit(text)).toBe(limit);
  });

  it.each([
    ['v20.19.0', []],
    ['v22.1.0', []],
    ['v20.18.3', ['node_unsupported']],
    ['v18.20.0', ['node_unsupported']],
  ])('with Node.js %s gives %j', async (nodeVersion, codes) => {
    const host = async () => ({ ...(await readHost()), nodeVersion });
    const { found } = await checkVersions({ replicas: () => [], host }).run(scope);
    expect(found.map(({ code }) => code)).toEqual(codes);
  });
});
