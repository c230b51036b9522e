import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  GoAway_Reason,
  PollSessionRequestSchema,
  type PollSessionResponse,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { PollSessions } from '../../../src/domain/agent/poll-sessions.ts';
import { durationFromMs, msFromDuration } from '../../../src/lib/proto-time.ts';
import {
  beat,
  CONNECTED,
  DISCONNECTED,
  fleet,
  hello,
  LEFT,
  leave,
  protocolOptions,
  results,
  SUSPECT,
  token,
  type Up,
  useFleet,
} from './conversation-fixture.ts';
import { rejection, turns } from './fleet-fixture.ts';

useFleet();

describe('long polls', () => {
  let polls: PollSessions;
  beforeEach(() => {
    polls = new PollSessions({
      protocol: protocolOptions(),
      clock: fleet.clock,
      wheel: fleet.wheel,
      leaseMs: () => fleet.pacing().leaseMs,
    });
  });

  const poll = (
    request: MessageInitShape<typeof PollSessionRequestSchema>,
    how: { token?: string; signal?: AbortSignal } = {},
  ): Promise<PollSessionResponse> =>
    polls.poll(
      create(PollSessionRequestSchema, request),
      { token: how.token ?? token, peer: '192.0.2.8:8' },
      how.signal ?? new AbortController().signal,
    );
  const NOW = durationFromMs(0);
  const cases = (response: PollSessionResponse) => response.frames.map(({ frame }) => frame.case);

  it('begin with hello, which is answered by welcome however short the wait, and carry pings', async () => {
    const first = await poll({ frames: [hello], wait: NOW });
    expect(cases(first)).toEqual(['welcome']);
    expect(first.epoch).toBe(fleet.sessions.get('default', 'a1')?.epoch);
    expect(msFromDuration(first.pollWithin ?? NOW)).toBe(15_000);
    const waiting = poll({ epoch: first.epoch, sequence: 1n });
    await fleet.pass(300);
    const second = await waiting;
    expect(cases(second)).toEqual(['ping']);
    const echo = second.frames[0]?.frame.case === 'ping' ? second.frames[0].frame.value.echo : 0n;
    await fleet.pass(40);
    await poll({
      epoch: first.epoch,
      sequence: 2n,
      wait: NOW,
      frames: [{ frame: { case: 'heartbeat', value: { echo } } }],
    });
    expect(fleet.sessions.get('default', 'a1')?.roundTrips.count).toBe(1);
  });

  it('are not held against an agent between them: only while one is open does an answer count as owed', async () => {
    const first = await poll({ frames: [hello], wait: NOW });
    const { epoch } = first;
    const session = () => fleet.sessions.get('default', 'a1');
    const suspicion = () => session()?.phi(fleet.clock.monoMs()) ?? -1;
    const pinged = poll({ epoch, sequence: 1n });
    await fleet.pass(300);
    expect(cases(await pinged)).toEqual(['ping']);
    await fleet.pass(6_000);
    expect([session()?.probes.outstanding, suspicion()]).toEqual([1, 0]);
    // A poll that brings no answer: from now on it is owed.
    const open = poll({ epoch, sequence: 2n });
    await turns(3);
    await fleet.pass(250);
    expect(suspicion()).toBeGreaterThan(0.5);
    const before = suspicion();
    await fleet.pass(1_200);
    expect(cases(await open)).toEqual(['ping']);
    const between = suspicion();
    expect(between).toBeGreaterThan(before);
    await fleet.pass(5_000);
    expect(suspicion()).toBe(between);
    expect(fleet.liveness('a1')).toBe(CONNECTED);
  });

  it('that never bring an answer make the agent SUSPECT', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    for (let sequence = 1n; sequence < 12n && fleet.liveness('a1') === CONNECTED; sequence += 1n) {
      const waiting = poll({ epoch, sequence });
      await turns(3);
      await fleet.pass(6_000);
      await waiting;
      await fleet.settle();
    }
    expect(fleet.liveness('a1')).toBe(SUSPECT);
  });

  it('give the last response again for a repeated sequence, and act on its frames once', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    const request = { epoch, sequence: 5n, wait: NOW, frames: [beat('f1')] };
    const first = await poll(request);
    const again = await poll(request);
    expect(results(first.frames)).toEqual([['f1', '']]);
    expect(again).toEqual(first);
    expect(fleet.sessions.get('default', 'a1')?.heartbeats).toBe(1);
    expect((await poll({ epoch, sequence: 6n, wait: NOW })).frames).toEqual([]);
  });

  it('give a repeat that comes before the answer the same one, and act on its frames once', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    const request = { epoch, sequence: 1n, frames: [{ ...leave, frameId: 'bye' }] };
    const [first, again] = await Promise.all([poll(request), poll(request)]);
    expect(results(first.frames)).toEqual([['bye', '']]);
    expect(again).toEqual(first);
  });

  it('lose no frame when the caller gave up waiting', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    const caller = new AbortController();
    const waiting = poll({ epoch, sequence: 1n, frames: [beat('f1')] }, { signal: caller.signal });
    const late = poll({ epoch, sequence: 2n }, { signal: caller.signal });
    caller.abort();
    const got = [
      ...(await waiting).frames,
      ...(await late).frames,
      ...(await poll({ epoch, sequence: 3n, wait: NOW })).frames,
    ];
    expect(results(got)).toEqual([['f1', '']]);
  });

  it('that come while another is open take over from it', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    const older = poll({ epoch, sequence: 1n });
    const newer = poll({ epoch, sequence: 2n });
    expect(cases(await older)).toEqual([]);
    await fleet.pass(300);
    expect(cases(await newer)).toEqual(['ping']);
  });

  it('that stop coming leave the agent DISCONNECTED after the time it was told', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    await fleet.pass(14_900);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(CONNECTED);
    await fleet.pass(300);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(DISCONNECTED);
    expect(await rejection(poll({ epoch, sequence: 1n }))).toMatchObject({ reason: ErrorReason.EPOCH_STALE });
  });

  it('whose caller went away amid hello leave no session that nobody polls', async () => {
    const caller = new AbortController();
    const answered = new Promise<void>((resolve) => {
      fleet.store.faults.answer = async () => {
        fleet.store.faults.answer = undefined;
        caller.abort();
        await turns(3);
        resolve();
      };
    });
    await poll({ frames: [hello] }, { signal: caller.signal });
    await answered;
    await fleet.settle();
    expect([fleet.sessions.size, fleet.liveness('a1')]).toEqual([0, DISCONNECTED]);
  });

  it('are refused with no token, another token, an epoch that never was, and one that was superseded', async () => {
    const other = await fleet.register('a2');
    const first = await poll({ frames: [hello], wait: NOW });
    expect(
      await rejection(
        polls.poll(
          create(PollSessionRequestSchema),
          { token: undefined, peer: '' },
          new AbortController().signal,
        ),
      ),
    ).toMatchObject({ reason: ErrorReason.TOKEN_INVALID });
    expect(await rejection(poll({ epoch: first.epoch }, { token: other }))).toMatchObject({
      reason: ErrorReason.EPOCH_STALE,
    });
    const forged = `${token.slice(0, -4)}AAAA`;
    expect(await rejection(poll({ epoch: first.epoch }, { token: forged }))).toMatchObject({
      reason: ErrorReason.TOKEN_INVALID,
    });
    expect(await rejection(poll({ epoch: first.epoch + 9n }))).toMatchObject({
      reason: ErrorReason.EPOCH_STALE,
    });
    const second = await poll({ frames: [hello], wait: NOW });
    expect(second.epoch).toBeGreaterThan(first.epoch);
    const last = await poll({ epoch: first.epoch, sequence: 9n });
    expect(last.frames[0]?.frame).toMatchObject({
      case: 'goAway',
      value: { reason: GoAway_Reason.SUPERSEDED },
    });
    await poll({ epoch: first.epoch, sequence: 10n, wait: NOW }).catch(() => {});
    expect(await rejection(poll({ epoch: first.epoch, sequence: 11n }))).toMatchObject({
      reason: ErrorReason.EPOCH_STALE,
    });
    expect(fleet.sessions.get('default', 'a1')?.epoch).toBe(second.epoch);
  });

  it.each<[string, Up[], ErrorReason]>([
    ['a first frame that is not hello', [beat()], ErrorReason.PROTOCOL_VIOLATION],
    [
      'invalid fields',
      [hello, { frame: { case: 'heartbeat', value: { held: durationFromMs(-1) } } }],
      ErrorReason.INVALID_FIELDS,
    ],
  ])('are refused with %s', async (_, frames, reason) => {
    expect(await rejection(poll({ frames }))).toMatchObject({ reason });
    await fleet.settle();
    expect(fleet.sessions.size).toBe(0);
  });

  it('end with leave, whose result comes once it is stored', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    const last = await poll({ epoch, sequence: 1n, frames: [{ ...leave, frameId: 'bye' }] });
    expect(results(last.frames)).toEqual([['bye', '']]);
    expect(fleet.liveness('a1')).toBe(LEFT);
    await fleet.pass(60_000);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(LEFT);
    expect(fleet.wheel.size).toBe(0);
  });
});
