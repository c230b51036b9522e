import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  Agent_Liveness,
  Agent_Phase,
  AgentSpecSchema,
  Restart_State,
  RestartSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { HelloSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type AgentRecord,
  DeliveryRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { type AttachInput, decideAttach, nextEpoch } from '../../../src/domain/agent/attach.ts';
import { agentOf, earlierVerdicts } from '../../../src/domain/agent/record.ts';
import {
  decideRegister,
  type RegisterInput,
  registeredHash,
  withToken,
} from '../../../src/domain/agent/register.ts';
import { claimOf, hashToken, mintToken } from '../../../src/domain/agent/token.ts';
import { DomainError } from '../../../src/lib/errors.ts';
import { timestampFromMs } from '../../../src/lib/proto-time.ts';
import { seededIds } from '../../support/fake-clock.ts';

const OWN = hashToken('own');
const OTHER = hashToken('other');
const FRESH = hashToken('fresh');
const STORE_EPOCH = 1_800_000_000n;
const FLOOR = STORE_EPOCH << 32n;
const { NEVER_SEEN, CONNECTED, SUSPECT, DISCONNECTED, LOST, LEFT } = Agent_Liveness;

const registerInput: RegisterInput = {
  existing: undefined,
  namespace: 'default',
  agentId: 'a1',
  spec: create(AgentSpecSchema, { kind: 'worker', labels: { b: '2', a: '1' } }),
  takeover: false,
  callerTokenHash: undefined,
  newTokenHash: FRESH,
  uid: 'uid-1',
  wallMs: 1_700_000_000_000,
  replicaId: 'replica-1',
  storeEpoch: STORE_EPOCH,
  namespaceRevision: 17n,
  actor: 'anonymous',
};

function recordWith(liveness: Agent_Liveness, phase: Agent_Phase = Agent_Phase.ACTIVE): AgentRecord {
  const record = decideRegister({ ...registerInput, newTokenHash: OWN }).record;
  if (record === undefined) throw new Error('a new agent has a record');
  agentOf(record).liveness = liveness;
  agentOf(record).phase = phase;
  return record;
}

function reasonOf(decide: () => unknown): ErrorReason | 'decided' {
  try {
    decide();
    return 'decided';
  } catch (error) {
    if (error instanceof DomainError) return error.reason;
    throw error;
  }
}

describe('a registration', () => {
  it('of a new agent is REGISTERED and NEVER_SEEN, with its token and above every epoch of a predecessor', () => {
    const { record, keepsToken, events } = decideRegister(registerInput);
    expect(record?.agent).toMatchObject({
      id: 'a1',
      uid: 'uid-1',
      phase: Agent_Phase.REGISTERED,
      liveness: NEVER_SEEN,
    });
    expect(record?.agent?.verdict?.rule).toBe('registered');
    expect(record?.tokenHashes).toEqual([FRESH]);
    expect(record?.sessionEpoch).toBe(FLOOR + 17n);
    expect(keepsToken).toBe(false);
    expect(events.map(({ type }) => type)).toEqual(['agent.registered']);
  });

  const { AGENT_LIVE, TOKEN_INVALID } = ErrorReason;
  type Row = [
    agent: Agent_Liveness,
    token: Uint8Array | undefined,
    takeover: boolean,
    sameSpec: boolean,
    outcome: ErrorReason | { stored: boolean; keepsToken: boolean; types: string[] },
  ];
  const kept = { stored: false, keepsToken: true, types: [] };
  const respecced = { stored: true, keepsToken: true, types: ['agent.updated'] };
  const again = { stored: true, keepsToken: false, types: ['agent.registered_again'] };
  const takenOver = { stored: true, keepsToken: false, types: ['agent.taken_over'] };
  it.each<Row>([
    [CONNECTED, OWN, false, true, kept],
    [CONNECTED, OWN, false, false, respecced],
    [CONNECTED, OWN, true, true, kept],
    [CONNECTED, undefined, false, true, AGENT_LIVE],
    [SUSPECT, undefined, false, true, AGENT_LIVE],
    [CONNECTED, undefined, true, true, takenOver],
    [SUSPECT, undefined, true, true, takenOver],
    [CONNECTED, undefined, true, false, { ...takenOver, types: ['agent.updated', 'agent.taken_over'] }],
    [CONNECTED, OTHER, false, true, TOKEN_INVALID],
    [CONNECTED, OTHER, true, true, takenOver],
    [NEVER_SEEN, OWN, false, true, kept],
    [NEVER_SEEN, undefined, false, true, again],
    [DISCONNECTED, undefined, false, true, again],
    [LOST, undefined, false, true, again],
    [LEFT, undefined, false, false, { ...again, types: ['agent.updated', 'agent.registered_again'] }],
    [LOST, OTHER, false, true, TOKEN_INVALID],
    [LOST, OTHER, true, true, again],
    [LOST, OWN, false, false, respecced],
  ])(
    'of an agent that is %s, with token %s, takeover %s and the same spec: %s',
    (liveness, token, takeover, sameSpec, outcome) => {
      const existing = recordWith(liveness);
      const before = structuredClone(existing);
      const spec = sameSpec ? registerInput.spec : create(AgentSpecSchema, { kind: 'other' });
      const decide = () =>
        decideRegister({ ...registerInput, existing, callerTokenHash: token, takeover, spec });
      if (typeof outcome === 'number') {
        expect(reasonOf(decide)).toBe(outcome);
        return;
      }
      const { record, keepsToken, events } = decide();
      expect({ stored: record !== undefined, keepsToken, types: events.map(({ type }) => type) }).toEqual(
        outcome,
      );
      if (record !== undefined) {
        expect(record.tokenHashes).toEqual(keepsToken ? [OWN] : [FRESH]);
        expect(agentOf(record).spec?.kind).toBe(spec.kind);
        expect([agentOf(record).uid, agentOf(record).liveness]).toEqual([agentOf(existing).uid, liveness]);
        expect(record.sessionEpoch, 'the epoch of a held session still counts').toBe(existing.sessionEpoch);
      }
      expect(structuredClone(existing), 'the stored record is not touched').toEqual(before);
    },
  );

  it('takes a spec for the same whatever the order of its maps, and keeps what was updated since', () => {
    const existing = recordWith(NEVER_SEEN);
    const updated = create(AgentSpecSchema, { kind: 'worker', displayName: 'set by UpdateAgent' });
    existing.registeredSpecHash = registeredHash(existing);
    agentOf(existing).spec = updated;
    const spec = create(AgentSpecSchema, { kind: 'worker', labels: { a: '1', b: '2' } });
    const { record } = decideRegister({ ...registerInput, existing, spec });
    expect(record === undefined ? undefined : agentOf(record).spec?.displayName).toBe('set by UpdateAgent');
  });

  it('keeps at most four tokens for repeats, the newest first', () => {
    let record = recordWith(NEVER_SEEN);
    const hashes = Array.from({ length: 6 }, (_, index) => hashToken(`t${index}`));
    for (const hash of hashes) record = withToken(record, hash);
    expect(record.tokenHashes).toEqual(hashes.slice(2).reverse());
  });
});

describe('a token', () => {
  it('names its agent, and no other text does', () => {
    const claim = { namespace: 'team-1', agentId: 'a.b_c-d' };
    const token = mintToken(seededIds(), claim);
    expect(claimOf(token)).toEqual(claim);
    for (const text of [
      '',
      'x',
      `${token}.x`,
      token.slice(5),
      'orch1..x',
      'orch1.bm9zbGFzaA.x',
      'x'.repeat(10_000),
    ]) {
      expect(claimOf(text), text.slice(0, 20)).toBeUndefined();
    }
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void claimOf(text)));
  });
});

describe('an attachment', () => {
  /** Its supervisor "boss" was told to restart it, by a policy. */
  const restarting = (record: AgentRecord, more: MessageInitShape<typeof RestartSchema> = {}): void => {
    agentOf(record).restart = create(RestartSchema, {
      state: Restart_State.ORDERED,
      actor: 'rule:restart_on_loss',
      byAgentId: 'boss',
      deliveryId: 'd1',
      ...more,
    });
  };

  const attachInput = (record: AgentRecord, more: Partial<AttachInput> = {}): AttachInput => ({
    record,
    tokenHash: OWN,
    hello: create(HelloSchema, { instanceId: 'process-2' }),
    peer: '192.0.2.2:2',
    replicaId: 'replica-2',
    wallMs: 1_700_000_100_000,
    storeMs: 1_700_003_700_000,
    storeEpoch: STORE_EPOCH,
    ...more,
  });

  it.each([
    ['another token', recordWith(CONNECTED), { tokenHash: OTHER }, ErrorReason.TOKEN_INVALID],
    ['a stopped agent', recordWith(LEFT, Agent_Phase.STOPPED), {}, ErrorReason.AGENT_STOPPED],
    [
      'a wrong token of a stopped agent',
      recordWith(LEFT, Agent_Phase.STOPPED),
      { tokenHash: OTHER },
      ErrorReason.TOKEN_INVALID,
    ],
  ])('is refused with %s', (_, record, more, reason) => {
    expect(reasonOf(() => decideAttach(attachInput(record, more)))).toBe(reason);
  });

  it.each([
    [NEVER_SEEN, Agent_Phase.REGISTERED, Agent_Phase.ACTIVE, ['agent.connected']],
    [CONNECTED, Agent_Phase.DRAINING, Agent_Phase.DRAINING, ['agent.connected', 'agent.twin']],
    [SUSPECT, Agent_Phase.ACTIVE, Agent_Phase.ACTIVE, ['agent.connected', 'agent.twin']],
    [DISCONNECTED, Agent_Phase.ACTIVE, Agent_Phase.ACTIVE, ['agent.connected']],
    [LOST, Agent_Phase.QUARANTINED, Agent_Phase.QUARANTINED, ['agent.recovered']],
    [LEFT, Agent_Phase.ACTIVE, Agent_Phase.ACTIVE, ['agent.connected']],
  ])(
    'of an agent that was %s in phase %s makes it CONNECTED in phase %s with events %s',
    (liveness, phase, after, types) => {
      const record = recordWith(liveness, phase);
      Object.assign(record, {
        instanceId: 'process-1',
        peer: '192.0.2.1:1',
        goneTime: agentOf(record).createTime,
      });
      const decided = decideAttach(attachInput(record));
      const agent = agentOf(decided.record);
      expect([agent.liveness, agent.phase]).toEqual([CONNECTED, after]);
      expect(decided.events.map(({ type }) => type)).toEqual(types);
      expect(decided.record).toMatchObject({
        ownerReplicaId: 'replica-2',
        instanceId: 'process-2',
        peer: '192.0.2.2:2',
        sessionEpoch: record.sessionEpoch + 1n,
      });
      expect(decided.record.goneTime).toBeUndefined();
      expect(agent.verdict).toMatchObject({ rule: 'attached', epoch: decided.record.sessionEpoch });
      expect(earlierVerdicts(decided.record).map(({ rule }) => rule)).toEqual(['registered']);
      expect(agentOf(record).liveness, 'the record before is not touched').toBe(liveness);
    },
  );

  it('of a twin names both addresses, both processes and the superseded epoch', () => {
    const record = recordWith(CONNECTED);
    Object.assign(record, { instanceId: 'process-1', peer: '192.0.2.1:1' });
    const twin = decideAttach(attachInput(record)).events.find(({ type }) => type === 'agent.twin');
    expect(twin?.attributes).toMatchObject({
      peer: '192.0.2.2:2',
      superseded_peer: '192.0.2.1:1',
      instance: 'process-2',
      superseded_instance: 'process-1',
      superseded_epoch: `${record.sessionEpoch}`,
    });
  });

  it.each([
    ['the same process', 'process-2', 'process-2'],
    ['a process without a name', 'process-1', ''],
    ['a nameless process before', '', 'process-2'],
  ])('of %s is no twin', (_, before, now) => {
    const record = recordWith(CONNECTED);
    Object.assign(record, { instanceId: before, ownerReplicaId: 'replica-2' });
    const { events } = decideAttach(attachInput(record, { hello: create(HelloSchema, { instanceId: now }) }));
    expect(events.map(({ type }) => type)).toEqual(['agent.connected']);
  });

  it('of the same process at another replica says that it moved, and pushes no verdict out', () => {
    let record = recordWith(CONNECTED);
    Object.assign(record, { instanceId: 'process-2', ownerReplicaId: 'replica-7' });
    const first = decideAttach(attachInput(record));
    expect(first.events.map(({ type }) => type)).toEqual(['agent.moved']);
    expect(first.events[0]?.attributes).toMatchObject({ from_replica: 'replica-7' });
    ({ record } = first);
    const filed = earlierVerdicts(record).length;
    for (let index = 0; index < 5; index += 1) {
      record.ownerReplicaId = 'replica-7';
      ({ record } = decideAttach(attachInput(record)));
    }
    expect(earlierVerdicts(record)).toHaveLength(filed);
    expect(agentOf(record).verdict?.detail).toContain('moved here from replica-7');
  });

  it("is dated by the store's clock, as is what became of a restart", () => {
    const record = recordWith(LOST);
    restarting(record, { oldInstanceId: 'process-1' });
    const decided = decideAttach(attachInput(record)).record;
    const storeTime = timestampFromMs(1_700_003_700_000);
    expect(decided.attachTime).toEqual(storeTime);
    expect(agentOf(decided).restart).toMatchObject({ state: Restart_State.DONE, updateTime: storeTime });
  });

  it.each([
    ['a process without a name', Restart_State.PLANNED, 'process-1', '', Restart_State.FAILED],
    ['a process after a nameless one', Restart_State.PLANNED, '', 'process-2', Restart_State.FAILED],
    ['another process', Restart_State.PLANNED, 'process-1', 'process-2', Restart_State.DONE],
    ['the same process', Restart_State.ORDERED, 'process-2', 'process-2', Restart_State.FAILED],
    ['a process without a name', Restart_State.ORDERED, 'process-1', '', Restart_State.ORDERED],
    ['a process after a nameless one', Restart_State.ORDERED, '', 'process-2', Restart_State.ORDERED],
    ['another process', Restart_State.ORDERED, 'process-1', 'process-2', Restart_State.DONE],
  ])('of %s leaves a restart in state %s of "%s" by "%s" in state %s', (_, state, before, now, after) => {
    const record = recordWith(LOST);
    restarting(record, { state, oldInstanceId: before });
    const decided = decideAttach(attachInput(record, { hello: create(HelloSchema, { instanceId: now }) }));
    expect(agentOf(decided.record).restart?.state).toBe(after);
    const restarted = decided.events.some(({ type }) => type === 'agent.restarted');
    expect(restarted).toBe(after === Restart_State.DONE);
  });

  it('of a nameless process says nothing of a restart that an operator has ordered', () => {
    const record = recordWith(DISCONNECTED);
    restarting(record, { actor: 'ann', oldInstanceId: '' });
    const restartOrder = create(DeliveryRecordSchema, { id: 'd1', agentId: 'boss' });
    const hello = create(HelloSchema);
    const decided = decideAttach(attachInput(record, { hello, restartOrder }));
    expect(agentOf(decided.record).restart).toEqual(agentOf(record).restart);
    expect(decided.deletes).toEqual([]);
  });

  it('keeps sixteen verdicts at most, the present one included', () => {
    let record = recordWith(NEVER_SEEN);
    for (let index = 0; index < 40; index += 1) ({ record } = decideAttach(attachInput(record)));
    expect(earlierVerdicts(record)).toHaveLength(15);
    expect(earlierVerdicts(record)[0]?.epoch).toBe(record.sessionEpoch - 1n);
  });
});

describe('epochs', () => {
  const storeEpoch = fc.bigInt({ min: 1_600_000_000n, max: 2n ** 31n - 1_000n });

  it('grow with every attachment, over changes of the store epoch that only ever grows', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(3), fc.nat(5)), { maxLength: 30 }),
        storeEpoch,
        (rounds, start) => {
          let epoch = 0n;
          let store = start;
          for (const [jump, attachments] of rounds) {
            store += BigInt(jump);
            for (let index = 0; index <= attachments; index += 1) {
              const next = nextEpoch(epoch, store);
              expect(next).toBeGreaterThan(epoch);
              expect(next).toBeGreaterThan(store << 32n);
              expect(next).toBeLessThan(2n ** 63n);
              epoch = next;
            }
          }
        },
      ),
    );
  });

  it('grow over any series of registrations, attachments and deregistrations of one id', () => {
    const action = fc.constantFrom('attach', 'reregister', 'failover', 'other commit');
    fc.assert(
      fc.property(fc.array(action, { maxLength: 25 }), (actions) => {
        let store = STORE_EPOCH;
        let revision = 0n;
        let highest = 0n;
        const register = () =>
          decideRegister({
            ...registerInput,
            newTokenHash: OWN,
            storeEpoch: store,
            namespaceRevision: revision++,
          });
        let { record } = register();
        for (const made of actions) {
          if (record === undefined) throw new Error('a new agent has a record');
          revision += 1n;
          if (made === 'reregister') ({ record } = register());
          else if (made === 'failover') store += 1n;
          else if (made === 'attach') {
            ({ record } = decideAttach({
              record,
              tokenHash: OWN,
              hello: create(HelloSchema),
              peer: '',
              replicaId: 'r',
              wallMs: 0,
              storeMs: 0,
              storeEpoch: store,
            }));
            expect(record.sessionEpoch).toBeGreaterThan(highest);
            highest = record.sessionEpoch;
          }
        }
      }),
    );
  });
});
