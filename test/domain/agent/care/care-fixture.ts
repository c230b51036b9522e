import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { AgentSpecSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  ConfirmLossRequestSchema,
  SetAutomationRequestSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { LossHook } from '../../../../src/domain/agent/care/loss-hook.ts';
import { decodeDelivery } from '../../../../src/domain/coordination/delivery-record.ts';
import { startFleet, type TestFleet, type TestFleetOptions, turns } from '../fleet-fixture.ts';
import { TICK_MS } from '../session-fixture.ts';

export const anonymous = { principal: 'operator', token: undefined };

/** A hook that remembers whose work was taken. */
export function recordingHook(): LossHook & { taken: string[] } {
  const taken: string[] = [];
  return {
    name: 'test',
    taken,
    effects: async ({ known }) => {
      taken.push(known.id);
      return {
        puts: [{ key: `released/${known.id}`, value: new Uint8Array([1]) }],
        summary: '1 task queued again',
      };
    },
  };
}

export interface Member {
  id: string;
  token: string;
}

/** Registers agents "a0"… and opens a session for each. */
export async function attachMany(
  fleet: TestFleet,
  count: number,
  spec: (index: number) => MessageInitShape<typeof AgentSpecSchema> = () => ({}),
): Promise<Member[]> {
  const members: Member[] = [];
  for (let index = 0; index < count; index += 1) {
    const id = `a${index}`;
    const token = await fleet.register(id, spec(index));
    await fleet.attach(id, token, { answers: true, instanceId: `process-${id}` });
    members.push({ id, token });
  }
  return members;
}

/** Their streams break. */
export function cutOff(fleet: TestFleet, members: readonly Member[]): void {
  for (const { id } of members) {
    const session = fleet.sessions.get('default', id);
    if (session !== undefined) fleet.sessions.lost(session, 'the network broke');
  }
}

/** Lets time pass with a round of care in each second. */
export async function live(fleets: TestFleet | readonly TestFleet[], seconds: number): Promise<void> {
  const all = Array.isArray(fleets) ? (fleets as readonly TestFleet[]) : [fleets as TestFleet];
  for (let second = 0; second < seconds; second += 1) {
    for (let ms = 0; ms < 1000; ms += TICK_MS) {
      all[0]?.clock.advance(TICK_MS);
      for (const fleet of all) {
        fleet.loop.tick();
        fleet.wheel.advance();
      }
    }
    await turns();
    for (const fleet of all) await fleet.tend();
  }
}

export const confirm = (fleet: TestFleet, request: MessageInitShape<typeof ConfirmLossRequestSchema> = {}) =>
  fleet.automation.confirmLoss(create(ConfirmLossRequestSchema, request), anonymous);

export const setAutomation = (
  fleet: TestFleet,
  request: MessageInitShape<typeof SetAutomationRequestSchema>,
) => fleet.automation.set(create(SetAutomationRequestSchema, request), anonymous);

/** Commands that wait in a mailbox: "restart", "quarantine"… */
export function mail(fleet: TestFleet, agentId: string) {
  const entries = fleet.store.data.namespaces.get('default')?.entries.values() ?? [];
  return [...entries]
    .filter(({ key }) => key.startsWith(`mail/${agentId}/`))
    .map(({ value }) => decodeDelivery(value))
    .map((record) => ({ record, type: record.item.case === 'command' ? record.item.value.type : '' }));
}

/** Fleets that are stopped after each test. */
export function fleetsOf() {
  const fleets: TestFleet[] = [];
  return {
    start: async (options: TestFleetOptions = {}): Promise<TestFleet> => {
      const fleet = await startFleet(options);
      fleets.push(fleet);
      return fleet;
    },
    stopAll: async (): Promise<void> => {
      for (const fleet of fleets.splice(0)) await fleet.stop();
    },
  };
}
