import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  Agent_Liveness,
  Agent_Phase,
  AgentSchema,
  AgentSpecSchema,
  FailurePolicySchema,
  Restart_State,
  VerdictSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AgentRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { loadConfig } from '../../../../src/config/load.ts';
import { decideBrakes, type Scope, type SetBrake } from '../../../../src/domain/agent/care/brake.ts';
import { failureOf, noteFailure } from '../../../../src/domain/agent/care/failures.ts';
import { type Need, needsOf } from '../../../../src/domain/agent/care/needs.ts';
import { backoffMs, policyOf, publicPolicy } from '../../../../src/domain/agent/care/policy.ts';
import { RateLimit } from '../../../../src/domain/agent/care/rate-limit.ts';
import { durationFromMs, timestampFromMs } from '../../../../src/lib/proto-time.ts';

const { config } = loadConfig({ env: {}, flags: {} });
const brakeConfig = { share: 0.5, minFailures: 5 };
const calm = { failing: 0, agents: 1000, gone: 0 };

const scope = (failing: number, agents: number, more: Partial<Scope> = {}): Scope => ({
  zone: '',
  failing,
  agents,
  gone: 0,
  waiting: failing,
  ...more,
});

const brake = (zone = ''): SetBrake => ({ zone, startMs: 0, failing: 6, agents: 10, threshold: 0.5 });

describe('the brake', () => {
  it.each<[string, Scope, boolean]>([
    ['half of ten', scope(5, 10), true],
    ['just below half', scope(49, 100), false],
    ['all of a few', scope(4, 4), false],
    ['one of one thousand', scope(1, 1000), false],
    ['nobody there', scope(0, 0), false],
  ])('is set or not: %s', (_, one, set) => {
    const input = {
      set: [],
      scopes: [one],
      everywhere: calm,
      config: brakeConfig,
      storeMs: 7,
      collecting: false,
    };
    const { newly, brakes } = decideBrakes(input);
    expect(newly).toHaveLength(set ? 1 : 0);
    expect(brakes).toEqual(newly);
    expect(decideBrakes({ ...input, collecting: true }).newly).toEqual([]);
  });

  it.each<[string, Scope, boolean]>([
    ['while the share stays', scope(6, 10), false],
    ['between what sets and what lifts it', scope(41, 100), false],
    ['when enough are back', scope(39, 100), true],
    ['when the confirmed ones were worked off and the rest waits', scope(5, 45, { gone: 55 }), false],
    [
      'when hardly anyone is in trouble and nobody waits, although most stayed away',
      scope(2, 40, { gone: 60, waiting: 0 }),
      true,
    ],
    ['when hardly anyone is in trouble, but a loss waits', scope(2, 40, { gone: 60, waiting: 1 }), false],
    ['when all are gone for good', scope(0, 0, { gone: 100, waiting: 0 }), true],
  ])('is lifted or not: %s', (_, one, lifts) => {
    const input = {
      set: [brake()],
      scopes: [one],
      everywhere: calm,
      config: brakeConfig,
      storeMs: 7,
      collecting: false,
    };
    expect(decideBrakes(input).lifted).toHaveLength(lifts ? 1 : 0);
  });

  it('is set in each small namespace when all of them fail together, and lifted when they are calm', () => {
    const input = { set: [], scopes: [scope(3, 3)], config: brakeConfig, storeMs: 7, collecting: false };
    const everywhere = { failing: 60, agents: 100, gone: 0 };
    expect(decideBrakes({ ...input, everywhere }).newly).toMatchObject([
      { zone: '', failing: 60, agents: 100 },
    ]);
    const one = { ...input, set: [brake()], scopes: [scope(1, 3, { waiting: 0 })] };
    expect(decideBrakes({ ...one, everywhere }).lifted).toEqual([]);
    expect(decideBrakes({ ...one, everywhere: calm }).lifted).toHaveLength(1);
  });

  it('is never set and lifted by the same figures, and working off losses never lifts it', () => {
    const figures = fc.record({
      agents: fc.integer({ min: 0, max: 500 }),
      share: fc.double({ min: 0.01, max: 1, noNaN: true }),
      minFailures: fc.integer({ min: 1, max: 20 }),
      failingShare: fc.double({ min: 0, max: 1, noNaN: true }),
      worked: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(figures, ({ agents, share, minFailures, failingShare, worked }) => {
        const failing = Math.round(agents * failingShare);
        const base = { everywhere: calm, config: { share, minFailures }, storeMs: 0, collecting: false };
        const { newly } = decideBrakes({ ...base, set: [], scopes: [scope(failing, agents)] });
        if (newly.length === 0) return;
        const again = decideBrakes({ ...base, set: newly, scopes: [scope(failing, agents)] });
        expect(again.lifted).toEqual([]);
        const gone = Math.floor((failing - 1) * worked);
        const left = scope(failing - gone, agents - gone, { gone });
        expect(decideBrakes({ ...base, set: newly, scopes: [left] }).lifted).toEqual([]);
      }),
    );
  });
});

describe('a rate', () => {
  it('is kept over any sequence of looks, with one second of it at once at most', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.1, max: 200, noNaN: true }),
        fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 60 }),
        (perSecond, steps) => {
          const rate = new RateLimit({ perSecond, nowMs: 0 });
          let nowMs = 0;
          let taken = 0;
          for (const step of steps) {
            nowMs += step;
            while (rate.take(nowMs)) taken += 1;
          }
          expect(taken).toBeLessThanOrEqual(Math.max(1, perSecond) + (nowMs / 1000) * perSecond + 1e-6);
        },
      ),
    );
  });
});

describe('the policy of an agent', () => {
  it('is what it declared, and as configured where it declared nothing', () => {
    const spec = create(AgentSpecSchema, {
      failurePolicy: create(FailurePolicySchema, {
        releaseAfter: durationFromMs(0),
        restart: { onLoss: false, maxAttempts: 2 },
        quarantine: { window: durationFromMs(5000) },
      }),
    });
    const defaults = policyOf(undefined, config.failures);
    expect(policyOf(spec, { ...config.failures, releaseAfterMs: 9000 })).toEqual({
      ...defaults,
      releaseAfterMs: 0,
      restartOnLoss: false,
      maxAttempts: 2,
      windowMs: 5000,
    });
    const told = create(AgentSpecSchema, { failurePolicy: publicPolicy(policyOf(spec, config.failures)) });
    expect(policyOf(told, config.failures)).toEqual(policyOf(spec, config.failures));
  });

  it('doubles the pause up to its ceiling, whatever the attempt', () => {
    const policy = { minBackoffMs: 1000, maxBackoffMs: 60_000 };
    expect([1, 2, 3, 6, 7, 1000, 4_000_000].map((attempt) => backoffMs(policy, attempt))).toEqual([
      1000, 2000, 4000, 32_000, 60_000, 60_000, 60_000,
    ]);
  });
});

describe('what counts as a failure', () => {
  const verdict = (rule: string, observer = {}) =>
    create(VerdictSchema, { rule, observer: { storeAvailable: true, ...observer } });
  it.each<[Agent_Liveness, string, string | undefined]>([
    [Agent_Liveness.LOST, 'lease', 'lost'],
    [Agent_Liveness.LOST, 'reconnect_grace', 'lost'],
    [Agent_Liveness.LOST, 'orphaned', undefined],
    [Agent_Liveness.DISCONNECTED, 'stream_closed', 'stream_closed'],
    [Agent_Liveness.DISCONNECTED, 'orphaned', undefined],
    [Agent_Liveness.SUSPECT, 'phi', undefined],
    [Agent_Liveness.LEFT, 'left', undefined],
    [Agent_Liveness.CONNECTED, 'answered', undefined],
  ])('%i by rule %s: %s', (liveness, rule, kind) => {
    expect(failureOf(liveness, verdict(rule))).toBe(kind);
    expect(failureOf(liveness, verdict(rule, { ownStall: durationFromMs(2000) }))).toBeUndefined();
    expect(failureOf(liveness, verdict(rule, { storeAvailable: false }))).toBeUndefined();
  });

  it('is kept within its window, sixteen at most, newest first', () => {
    const record = create(AgentRecordSchema, { agent: create(AgentSchema) });
    for (let index = 0; index < 30; index += 1) noteFailure(record, 'crashed', index * 1000, 100_000);
    expect(record.failures).toHaveLength(16);
    expect(record.failures[0]?.time).toEqual(timestampFromMs(29_000));
    noteFailure(record, 'lost', 129_500, 100_000);
    expect(record.failures.map(({ kind }) => kind)).toEqual(['lost']);
  });
});

describe('what is due about an agent', () => {
  const policy = policyOf(undefined, config.failures);
  const needs = (
    agent: Parameters<typeof create<typeof AgentSchema>>[1],
    record: Parameters<typeof create<typeof AgentRecordSchema>>[1] = {},
    more: { supervisor?: string; policy?: Partial<typeof policy>; hasDependents?: boolean } = {},
  ): Need[] =>
    needsOf({
      record: create(AgentRecordSchema, {
        sessionEpoch: 7n,
        goneTime: timestampFromMs(100_000),
        ...record,
        agent: create(AgentSchema, { phase: Agent_Phase.ACTIVE, ...agent }),
      }),
      policy: { ...policy, ...more.policy },
      storeMs: 200_000,
      supervisor: more.supervisor,
      hasDependents: more.hasDependents ?? false,
      isOneOfMany: () => false,
    });
  const kinds = (...input: Parameters<typeof needs>) => needs(...input).map(({ kind }) => kind);
  const lost = { liveness: Agent_Liveness.LOST };

  it('of which nothing is known to fail is nothing', () => {
    for (const liveness of [
      Agent_Liveness.NEVER_SEEN,
      Agent_Liveness.CONNECTED,
      Agent_Liveness.SUSPECT,
      Agent_Liveness.DISCONNECTED,
      Agent_Liveness.LEFT,
    ]) {
      expect(kinds({ liveness }, {}, { supervisor: 'boss', hasDependents: true })).toEqual([]);
    }
  });

  it('after a loss is its work, its restart and those who depend on it, each once', () => {
    expect(kinds(lost)).toEqual(['handle_loss']);
    expect(kinds(lost, {}, { supervisor: 'boss', hasDependents: true })).toEqual([
      'tell_lost',
      'handle_loss',
      'plan_restart',
    ]);
    expect(kinds(lost, { lossHandledEpoch: 7n, lossToldEpoch: 7n }, { hasDependents: true })).toEqual([]);
    expect(kinds(lost, { lossHandledEpoch: 6n })).toEqual(['handle_loss']);
  });

  it.each([Agent_Phase.DRAINING, Agent_Phase.DRAINED, Agent_Phase.STOPPED, Agent_Phase.QUARANTINED])(
    'is no restart in phase %i',
    (phase) => {
      expect(kinds({ ...lost, phase }, { lossHandledEpoch: 7n }, { supervisor: 'boss' })).toEqual([]);
    },
  );

  it('is no restart where the policy says so, or nobody could do it', () => {
    const handled = { lossHandledEpoch: 7n };
    expect(kinds(lost, handled)).toEqual([]);
    expect(kinds(lost, handled, { supervisor: 'boss', policy: { restartOnLoss: false } })).toEqual([]);
  });

  it('of a restart follows from its state alone', () => {
    const handled = { lossHandledEpoch: 7n };
    const restart = (state: Restart_State, updateMs: number) => ({
      ...lost,
      restart: {
        state,
        attempt: 2,
        startTime: timestampFromMs(100_000),
        updateTime: timestampFromMs(updateMs),
      },
    });
    const boss = { supervisor: 'boss' };
    const planned = { ...handled, restartAttempts: 1, nextRestartTime: timestampFromMs(150_000) };
    expect(needs(restart(Restart_State.PLANNED, 100_000), planned, boss)).toMatchObject([
      { kind: 'order_restart', dueMs: 150_000, attempt: 2 },
    ]);
    const ordered = { ...handled, restartAttempts: 2 };
    expect(needs(restart(Restart_State.FAILED, 160_000), ordered, boss)).toMatchObject([
      { kind: 'plan_restart', attempt: 3, orderMs: 164_000 },
    ]);
    expect(needs(restart(Restart_State.ORDERED, 160_000), ordered, boss)).toMatchObject([
      { kind: 'plan_restart', dueMs: 220_000, attempt: 3 },
    ]);
    expect(
      needs(restart(Restart_State.FAILED, 160_000), { ...handled, restartAttempts: 10 }, boss),
    ).toMatchObject([{ kind: 'quarantine', rule: 'restart_limit' }]);
    // One of an earlier loss says nothing about this one.
    const earlier = { ...lost, restart: { state: Restart_State.DONE, startTime: timestampFromMs(50_000) } };
    expect(needs(earlier, { ...handled, restartAttempts: 2 }, boss)).toMatchObject([
      { kind: 'plan_restart', attempt: 3, orderMs: 104_000 },
    ]);
  });

  it('is to forget it only once its loss was dealt with', () => {
    const spec = create(AgentSpecSchema, { forgetAfter: durationFromMs(10_000) });
    expect(kinds({ ...lost, spec })).toEqual(['handle_loss']);
    expect(needs({ ...lost, spec }, { lossHandledEpoch: 7n })).toEqual([{ kind: 'forget', dueMs: 110_000 }]);
    expect(kinds({ liveness: Agent_Liveness.LEFT, spec })).toEqual(['forget']);
    expect(kinds({ liveness: Agent_Liveness.CONNECTED, spec })).toEqual([]);
  });
});
