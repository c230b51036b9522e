import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Agent_Phase,
  type ProcessExitSchema,
  ReportSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Session } from '../../../../src/domain/agent/session.ts';
import { durationFromMs } from '../../../../src/lib/proto-time.ts';
import type { TestFleet } from '../fleet-fixture.ts';
import { fleetsOf, live } from './care-fixture.ts';

const { start, stopAll } = fleetsOf();
afterEach(stopAll);

type Exit = MessageInitShape<typeof ProcessExitSchema>;

const exit = (start: number, more: Exit = {}): Exit => ({
  start,
  exitCode: 1,
  ran: durationFromMs(1000 + start),
  lastLines: [`start ${start} says goodbye`],
  ...more,
});

async function report(fleet: TestFleet, session: Session, ...exits: Exit[]): Promise<void> {
  session.heartbeat(0, 0, undefined, create(ReportSchema, { process: { exits: exits.slice(-4) } }));
  await fleet.settle();
}

async function supervised(flags: Record<string, string> = {}) {
  const fleet = await start({ flags });
  const token = await fleet.register('a1');
  const { session } = await fleet.attach('a1', token, { answers: true });
  return { fleet, token, session };
}

const exitsOf = async (fleet: TestFleet) =>
  (await fleet.exits.read('default', 'a1')).map(({ start }) => start);
const exited = (fleet: TestFleet) => fleet.events('a1').filter(({ type }) => type === 'agent.process_exited');

describe('exits of a supervised process', () => {
  it('are kept newest first with their last lines, each told of and counted once', async () => {
    const { fleet, session } = await supervised();
    await report(fleet, session, exit(1));
    await report(fleet, session, exit(1));
    await report(fleet, session, exit(1), exit(2, { requested: true }), exit(3), exit(4), exit(5));
    expect(await exitsOf(fleet)).toEqual([5, 4, 3, 2]);
    expect((await fleet.exits.read('default', 'a1'))[0]).toMatchObject({
      lastLines: ['start 5 says goodbye'],
    });
    expect(exited(fleet).map(({ attributes, severity }) => [attributes.start, severity])).toEqual([
      ['1', 2],
      ['2', 1],
      ['3', 2],
      ['4', 2],
      ['5', 2],
    ]);
    expect(fleet.record('a1')?.failures.map(({ kind }) => kind)).toEqual(Array(4).fill('crashed'));
  });

  it('are not counted again after a reconnect, but those of a supervisor that was restarted are', async () => {
    const { fleet, token, session } = await supervised();
    await report(fleet, session, exit(1), exit(2));
    const again = await fleet.attach('a1', token, { answers: true });
    await report(fleet, again.session, exit(1), exit(2));
    expect(exited(fleet)).toHaveLength(2);
    await report(fleet, again.session, exit(1), exit(2), exit(3));
    const restarted = await fleet.attach('a1', token, { answers: true });
    await report(fleet, restarted.session, exit(1, { ran: durationFromMs(7777) }));
    expect(await exitsOf(fleet)).toEqual([1, 3, 2, 1]);
    expect(exited(fleet)).toHaveLength(4);
  });

  it('wait for a store that is away', async () => {
    const { fleet, session } = await supervised();
    fleet.store.faults.away = true;
    session.heartbeat(0, 0, undefined, create(ReportSchema, { process: { exits: [exit(1)] } }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    fleet.store.faults.away = false;
    await fleet.settle();
    expect(await exitsOf(fleet)).toEqual([1]);
  });

  it('set their agent aside when they come again and again, whoever else fails', async () => {
    const { fleet, session } = await supervised();
    await fleet.tend();
    const exits: Exit[] = [];
    for (let start = 1; start <= 5; start += 1) {
      exits.push(exit(start));
      await report(fleet, session, ...exits);
      await live(fleet, 2);
    }
    expect(fleet.record('a1')?.agent).toMatchObject({
      phase: Agent_Phase.QUARANTINED,
      quarantine: { actor: 'rule:flapping', reason: '5 failures within 600 s: 5 × crashed' },
    });
  });

  it('go when their agent is forgotten', async () => {
    const fleet = await start();
    const token = await fleet.register('a1', { forgetAfter: durationFromMs(5000) });
    const { session } = await fleet.attach('a1', token, { answers: true });
    await report(fleet, session, exit(1));
    await fleet.sessions.left(session, '');
    await live(fleet, 7);
    expect(fleet.record('a1')).toBeUndefined();
    expect(await exitsOf(fleet)).toEqual([]);
  });
});
