import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  Agent_Liveness,
  Agent_Phase,
  AgentSchema,
  Drain_State,
  Restart_State,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { PayloadSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  AgentOutcome_State,
  AmountSchema,
  Operation_State,
  OperationSpecSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import {
  AgentRecordSchema,
  DeliveryRecordSchema,
  OperationAgentRecordSchema,
  OperationAnswerRecordSchema,
  OperationRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { judge } from '../../../../src/domain/coordination/operations/agent-rules.ts';
import { bounded } from '../../../../src/domain/coordination/operations/answers.ts';
import { amountOf, planOperation } from '../../../../src/domain/coordination/operations/operation-plan.ts';
import { deliveryIdOf, deliveryOf } from '../../../../src/domain/coordination/operations/operation-record.ts';
import {
  decideNext,
  type Next,
  progressOf,
} from '../../../../src/domain/coordination/operations/operation-rules.ts';
import { timestampFromMs } from '../../../../src/lib/proto-time.ts';

const { WAITING, DELIVERED, ACCEPTED, DONE, FAILED, CANCELLED } = AgentOutcome_State;
const NOW = 1_000_000;

describe('what an operation does next', () => {
  const letters: Record<string, AgentOutcome_State> = {
    d: DELIVERED,
    a: ACCEPTED,
    D: DONE,
    F: FAILED,
    f: FAILED,
  };
  /** One letter an agent: "." waits, d delivered, a accepted, D done, F failed in this round, f in an earlier one. */
  const picture = (
    agents: string,
    more: {
      state?: Operation_State;
      wave?: number;
      waveSize?: number;
      maxInFlight?: number;
      maxErrors?: number;
      retryRound?: number;
      nextWaveMs?: number;
      minHealth?: number;
    } = {},
  ) => {
    const { waveSize = 2, maxInFlight = 2, maxErrors = 0, retryRound = 0 } = more;
    const record = create(OperationRecordSchema, {
      ...{ waveSize, maxInFlight, maxErrors, retryRound, round: 2 },
      operation: {
        state: more.state ?? Operation_State.RUNNING,
        wave: more.wave ?? 1,
        agents: agents.length,
        spec: { minHealth: more.minHealth ?? 0 },
        ...(more.nextWaveMs === undefined ? {} : { nextWaveTime: timestampFromMs(more.nextWaveMs) }),
      },
    });
    const outcomes = new Map(
      [...agents].flatMap((letter, place) =>
        letter === '.'
          ? []
          : [
              [
                place,
                {
                  record: create(OperationAgentRecordSchema, {
                    outcome: { state: letters[letter] ?? WAITING, agentId: `a${place}` },
                    round: letter === 'f' ? 1 : 2,
                  }),
                  revision: 1n,
                },
              ] as const,
            ],
      ),
    );
    return { record, agents: agents.length, outcomes };
  };
  const WAIT: Next = { kind: 'wait' };
  const order = (...places: number[]): Next => ({ kind: 'order', places });
  const stop: Next = { kind: 'stop', why: 'errors' };
  const end = (state: Operation_State): Next => ({ kind: 'end', state });
  const { PAUSED, STOPPED, SUCCEEDED, COMPLETED_WITH_ERRORS } = Operation_State;

  it.each<[string, string, Parameters<typeof picture>[1], Next]>([
    ['gives the first wave its command', '....', {}, order(0, 1)],
    ['gives no more than may be in flight', '....', { waveSize: 4, maxInFlight: 3 }, order(0, 1, 2)],
    ['fills up what may be in flight', 'dD..', { waveSize: 4, maxInFlight: 2 }, order(2)],
    ['waits while all that may be are in flight', 'da..', { waveSize: 4 }, WAIT],
    ['does not begin a wave before the last is over', 'Da..', {}, WAIT],
    [
      'ends a wave when all of it are done or failed',
      'DF..',
      { maxErrors: 1 },
      { kind: 'wave', over: 1, next: 2 },
    ],
    ['begins the next wave', 'DD..', { wave: 2 }, order(2, 3)],
    ['waits for the pause between waves', 'DD..', { wave: 2, nextWaveMs: NOW + 1 }, WAIT],
    ['goes on when the pause is over', 'DD..', { wave: 2, nextWaveMs: NOW }, order(2, 3)],
    ['stops at the first error by default', 'F...', {}, stop],
    ['does not stop at the limit of errors', 'F.d.', { waveSize: 4, maxErrors: 1 }, order(1)],
    ['stops beyond the limit of errors', 'FFd.', { waveSize: 4, maxErrors: 1 }, stop],
    ['stops beyond the limit also in the last wave', 'DDDF', { wave: 2 }, stop],
    ['stops beyond the limit also when it is paused', 'F...', { state: PAUSED }, stop],
    ['does not count errors of before it was resumed', 'ff..', { wave: 2 }, order(2, 3)],
    ['tries again what failed before it was resumed', 'fD..', { retryRound: 2 }, order(0)],
    [
      'goes back to the wave of those to be tried again',
      'fDD.',
      { wave: 2, retryRound: 2 },
      { kind: 'wave', over: undefined, next: 1 },
    ],
    ['hands out nothing while it is paused', '....', { state: PAUSED }, WAIT],
    ['ends also when it is paused', 'DDDD', { state: PAUSED, wave: 2 }, end(SUCCEEDED)],
    ['does nothing when it has stopped', 'FD..', { state: STOPPED }, WAIT],
    ['does not end by itself when it has stopped', 'DDDF', { state: STOPPED, wave: 2 }, WAIT],
    ['succeeds when all are done', 'DDDD', { wave: 2 }, end(SUCCEEDED)],
    ['completes with errors within the limit', 'DFDD', { wave: 2, maxErrors: 1 }, end(COMPLETED_WITH_ERRORS)],
    ['completes with errors that were accepted', 'DfDD', { wave: 2 }, end(COMPLETED_WITH_ERRORS)],
    ['waits for what was taken on when it was cancelled', 'Da..', { state: Operation_State.CANCELLED }, WAIT],
    [
      'ends when it was cancelled and nothing is out',
      'DF..',
      { state: Operation_State.CANCELLED },
      end(Operation_State.CANCELLED),
    ],
  ])('%s', (_, agents, more, next) => {
    const given = picture(agents, more);
    expect(decideNext(given, progressOf(given), { health: undefined, storeMs: NOW })).toEqual(next);
  });

  it.each([
    ['falls below what is wanted', 0.79, { kind: 'stop', why: 'health' }],
    ['is what is wanted', 0.8, order(2, 3)],
    ['is not known', undefined, order(2, 3)],
  ] as const)('stops when the mean health of those done %s', (_, health, next) => {
    const given = picture('DD..', { wave: 2, minHealth: 0.8 });
    expect(decideNext(given, progressOf(given), { health, storeMs: NOW })).toEqual(next);
  });

  it('counts those whose turn never came as cancelled, once it is', () => {
    const { counts } = progressOf(picture('DF..', { state: Operation_State.CANCELLED, retryRound: 2 }));
    expect([...counts]).toEqual([
      [DONE, 1],
      [FAILED, 1],
      [CANCELLED, 2],
    ]);
  });
});

describe('what became of an agent whose command is out', () => {
  type Agent = Exclude<MessageInitShape<typeof AgentSchema>, { $typeName: string }>;
  interface Given {
    agent?: Agent | 'gone';
    record?: MessageInitShape<typeof AgentRecordSchema>;
    answer?: MessageInitShape<typeof OperationAnswerRecordSchema>;
    /** Where the command is; default: in its mailbox. */
    mail?: 'taken on' | 'none';
    late?: boolean;
    mailbox?: string;
  }
  const D = 'op-1.0.1';
  const judged = (command: string, given: Given = {}) => {
    const { agent, mail, answer, late, mailbox = 'a1' } = given;
    const known =
      agent === 'gone'
        ? undefined
        : {
            namespace: 'default',
            id: 'a1',
            revision: 1n,
            record: create(AgentRecordSchema, {
              instanceId: 'p1',
              sessionEpoch: 5n,
              agent: create(AgentSchema, {
                ...{ id: 'a1', uid: 'u', liveness: Agent_Liveness.CONNECTED },
                ...agent,
              } as Agent),
              ...given.record,
            }),
          };
    const delivery =
      mail === 'none'
        ? undefined
        : {
            ...{ namespace: 'default', agentId: 'a1', id: D, revision: 1n, createdRevision: 1n },
            record: create(DeliveryRecordSchema, { accepted: mail === 'taken on' }),
          };
    const result = judge({
      command,
      outcome: create(OperationAgentRecordSchema, {
        outcome: { agentId: 'a1', state: DELIVERED, deliveryId: D },
        uid: 'u',
        mailboxAgentId: mailbox,
        oldInstanceId: 'p1',
        oldSessionEpoch: 5n,
        deadlineMs: BigInt(NOW),
      }),
      agent: known,
      delivery,
      answer: answer && create(OperationAnswerRecordSchema, answer),
      storeMs: late === true ? NOW : NOW - 1,
    });
    if (result === undefined) return 'no news';
    const { state, verified, error, takeBack } = result;
    const name =
      { [DONE]: 'done', [FAILED]: 'failed', [ACCEPTED]: 'accepted' }[state as number] ?? `${state}`;
    return `${name}${verified ? ', seen' : ''}${error === '' ? '' : `: ${error}`}${takeBack ? ' (taken back)' : ''}`;
  };
  const { LOST, LEFT, NEVER_SEEN, DISCONNECTED } = Agent_Liveness;
  const { ACTIVE, DRAINED, DRAINING, QUARANTINED, STOPPED } = Agent_Phase;
  const draining = (state: Drain_State, more: object = {}) => ({
    phase: DRAINING,
    drain: { deliveryId: D, state, ...more },
  });
  const drain = (state: Drain_State, more: object = {}): Given => ({ agent: draining(state, more) });
  const restart = (state: Restart_State, more: object = {}) => ({
    restart: { deliveryId: D, state, ...more },
  });

  it.each<[string, Given, string]>([
    ['check', {}, 'no news'],
    ['check', { mail: 'taken on' }, 'accepted'],
    ['check', { answer: { state: 'succeeded' }, mail: 'none' }, 'done, seen'],
    ['check', { answer: { state: 'failed', error: 'x' }, mail: 'none' }, 'failed: it failed: x'],
    ['check', { answer: { state: 'declined' }, mail: 'none' }, 'failed: it declined'],
    [
      'check',
      { answer: { state: 'expired' }, mail: 'none' },
      'failed: it took too long: the command expired unanswered',
    ],
    [
      'check',
      { answer: { state: 'tries' }, mail: 'none' },
      'failed: it was given the command again and again and did not answer',
    ],
    ['check', { agent: 'gone' }, 'failed: it was deregistered (taken back)'],
    ['check', { agent: { uid: 'another' } }, 'failed: it was deregistered (taken back)'],
    ['check', { agent: { liveness: LOST } }, 'failed: it is lost (taken back)'],
    ['check', { agent: { liveness: LEFT } }, 'failed: it has left (taken back)'],
    ['check', { agent: { liveness: DISCONNECTED } }, 'no news'],
    ['check', { mail: 'none' }, 'failed: the command was taken out of its mailbox unanswered'],
    ['check', { late: true }, 'failed: it took too long: it has not taken the command on (taken back)'],
    [
      'check',
      { late: true, mail: 'taken on' },
      'failed: it took too long: it has taken the command on and not finished it (taken back)',
    ],
    ['drain', drain(Drain_State.RUNNING), 'no news'],
    ['drain', { ...drain(Drain_State.RUNNING), mail: 'taken on' }, 'accepted'],
    ['drain', { ...drain(Drain_State.STOPPED), mail: 'none' }, 'done, seen'],
    ['drain', drain(Drain_State.NOTHING_RAN), 'done, seen: no process of it was there'],
    [
      'drain',
      drain(Drain_State.DEADLINE_PASSED),
      'failed: it took too long: it has not said that its work has stopped',
    ],
    ['drain', drain(Drain_State.DECLINED, { error: 'busy' }), 'failed: it declined: busy'],
    [
      'drain',
      { agent: { phase: ACTIVE, drain: { deliveryId: D, state: Drain_State.CANCELLED } } },
      'failed: another order took its place: it is active',
    ],
    [
      'drain',
      { agent: { phase: DRAINED, drain: { deliveryId: 'cmd-2', state: Drain_State.STOPPED } } },
      'failed: another order took its place: it is drained',
    ],
    ['drain', { agent: { phase: ACTIVE }, answer: { state: 'succeeded' } }, 'done, seen'],
    [
      'drain',
      { agent: { ...draining(Drain_State.RUNNING), liveness: LOST } },
      'failed: it was lost before it said that its work has stopped',
    ],
    ['restart', { agent: restart(Restart_State.ORDERED) }, 'no news'],
    ['restart', { agent: { ...restart(Restart_State.ORDERED), liveness: LOST } }, 'no news'],
    [
      'restart',
      { agent: restart(Restart_State.ORDERED), record: { instanceId: 'p2', sessionEpoch: 6n } },
      'done, seen',
    ],
    [
      'restart',
      { agent: restart(Restart_State.DONE), record: { instanceId: 'p1', sessionEpoch: 6n } },
      'no news',
    ],
    [
      'restart',
      { agent: restart(Restart_State.DONE), record: { instanceId: '', sessionEpoch: 6n } },
      'done: its processes have no names: whether it is another one is not known',
    ],
    ['restart', { agent: restart(Restart_State.FAILED, { error: 'declined' }) }, 'failed: declined'],
    ['restart', { agent: { restart: { deliveryId: 'cmd-2' } } }, 'failed: another restart took its place'],
    [
      'restart',
      { agent: restart(Restart_State.DONE), late: true },
      'failed: it was said to be restarted, but no other process has attached',
    ],
    ['stop', { agent: { phase: STOPPED } }, 'no news'],
    ['stop', { agent: { phase: STOPPED, liveness: LEFT } }, 'done, seen'],
    [
      'stop',
      { agent: { phase: STOPPED, liveness: LEFT, verdict: { rule: 'stopped' } } },
      'failed: it did not leave in time: its session was ended, its process may still be there',
    ],
    [
      'stop',
      { agent: { phase: STOPPED, liveness: NEVER_SEEN } },
      'done, seen: no process of it was ever there',
    ],
    [
      'stop',
      { agent: { phase: STOPPED, liveness: LOST } },
      'done: it went without a goodbye: its process may still be there',
    ],
    ['stop', { agent: { phase: ACTIVE } }, 'failed: another order took its place: it is active'],
    ['pause', { agent: { phase: QUARANTINED } }, 'no news'],
    ['pause', { agent: { phase: QUARANTINED }, answer: { state: 'succeeded' } }, 'done, seen'],
    [
      'pause',
      { agent: { phase: QUARANTINED }, answer: { state: 'declined', error: 'what?' } },
      'done, seen: it declined: what?',
    ],
    [
      'pause',
      { agent: { phase: QUARANTINED }, answer: { state: 'expired' } },
      'failed: it was told and did not answer; it is quarantined all the same',
    ],
    [
      'pause',
      { agent: { phase: QUARANTINED, liveness: LOST } },
      'done, seen: it is lost: it is told when it comes back',
    ],
    ['pause', { agent: { phase: ACTIVE } }, 'failed: another order took its place: it is active'],
    ['resume', { agent: { phase: ACTIVE }, mail: 'none', mailbox: '' }, 'done, seen'],
    ['resume', { agent: { phase: DRAINING } }, 'failed: another order took its place: it is draining'],
  ])('%s %o: %s', (command, given, expected) => expect(judged(command, given)).toBe(expected));
});

describe('whom an operation concerns', () => {
  const candidates = ['b', 'c', 'a'].map((id) => ({ id, agent: create(AgentSchema, { id }) }));
  const plan = (spec: MessageInitShape<typeof OperationSpecSchema>, matches = () => true) =>
    planOperation(create(OperationSpecSchema, spec), candidates, matches);

  it.each([
    ['by their id where a filter picks them', { filter: {} }, ['a', 'b', 'c']],
    ['in the order in which they are named', { agentIds: ['c', 'a'] }, ['c', 'a']],
    ['of those named the ones that match', { agentIds: ['c', 'a'], filter: {} }, ['c', 'a']],
  ])('is settled %s', (_, spec, who) => expect(plan(spec)).toMatchObject({ who }));

  it.each<[string, MessageInitShape<typeof OperationSpecSchema>, () => boolean, string]>([
    ['nobody matches', { filter: {} }, () => false, 'no agent matches'],
    [
      'one that is named is not registered',
      { agentIds: ['a', 'x', 'y'] },
      () => true,
      'not registered: x, y',
    ],
  ])('is refused where %s', (_, spec, matches, words) => expect(() => plan(spec, matches)).toThrow(words));

  it('is refused where too many match', () => {
    const many = Array.from({ length: 10_001 }, (_, index) => ({
      id: `a${index}`,
      agent: create(AgentSchema),
    }));
    expect(() => planOperation(create(OperationSpecSchema, { filter: {} }), many, () => true)).toThrow(
      '10001 agents match',
    );
  });

  it.each([
    ['percent', 10, 200, 20],
    ['percent', 7, 100, 7],
    ['percent', 0.1, 200, 1],
    ['percent', 0, 200, 0],
    ['percent', 100, 3, 3],
    ['count', 5, 3, 5],
  ] as const)('%s %d of %d agents is %d', (which, value, agents, expected) =>
    expect(amountOf(create(AmountSchema, { amount: { case: which, value } }), agents)).toBe(expected),
  );

  it('has waves and limits that fit it', () => {
    const amount = (value: number) => ({ amount: { case: 'count' as const, value } });
    expect(plan({ filter: {}, wave: amount(2), maxInFlight: amount(9), maxErrors: amount(1) })).toMatchObject(
      {
        ...{ waveSize: 2, waves: 2, maxInFlight: 2, maxErrors: 1, agentTimeoutMs: 300_000 },
      },
    );
  });
});

describe("a command's delivery", () => {
  it('is named by operation, place and try, and by nothing else', () => {
    expect(deliveryOf(deliveryIdOf('op-1', 17, 2), 'op-1')).toEqual({ place: 17, tries: 2 });
    for (const other of ['re-1', 'op-1', 'op-1.x.1', 'op-2.17.2', 'op-1.17.2.3'])
      expect(deliveryOf(other, 'op-1')).toBeUndefined();
  });

  it.each([
    ['text', { case: 'text' as const, value: 'é'.repeat(2000) }],
    ['bytes', { case: 'binary' as const, value: new Uint8Array(5000) }],
  ])('has of a long answer in %s only the beginning kept', (_, data) => {
    const { output, truncated } = bounded(create(PayloadSchema, { data }));
    expect(truncated).toBe(true);
    expect(output.data.case).toBe('text');
    expect(Buffer.byteLength(String(output.data.value))).toBeLessThanOrEqual(1024);
  });
});
