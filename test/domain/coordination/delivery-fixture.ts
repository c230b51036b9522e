import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type Delivery,
  type DeliveryUpdate_State,
  type HelloSchema,
  OpenSessionRequestSchema,
  type OpenSessionResponse,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { StreamCarrier } from '../../../src/domain/agent/stream-carrier.ts';
import {
  decodeDelivery,
  encodeDelivery,
  putCommand,
} from '../../../src/domain/coordination/delivery-record.ts';
import { FakeChannel } from '../agent/conversation-fixture.ts';
import { type TestFleet, turns } from '../agent/fleet-fixture.ts';

/** One process of an agent, on a stream of its own. */
export interface TestAgent {
  channel: FakeChannel;
  /** What was handed over, oldest first. */
  deliveries(): Delivery[];
  frames(): OpenSessionResponse['frame'][];
  /** Says what became of a delivery; returns the reason in the result, '' for stored. */
  say(delivery: Delivery, state: DeliveryUpdate_State, more?: object): Promise<string>;
  send(frame: MessageInitShape<typeof OpenSessionRequestSchema>): void;
  /** The stream breaks. */
  breakOff(): void;
}

let frameIds = 0;

/** Opens a session, welcomed. */
export async function attach(
  fleet: TestFleet,
  protocol: ConstructorParameters<typeof StreamCarrier>[0]['protocol'],
  token: string,
  hello: MessageInitShape<typeof HelloSchema> = {},
  /** Sent together with hello, before welcome. */
  early: readonly MessageInitShape<typeof OpenSessionRequestSchema>[] = [],
): Promise<TestAgent> {
  const channel = new FakeChannel();
  const carrier = new StreamCarrier({
    protocol,
    channel,
    clock: fleet.clock,
    token,
    wheel: fleet.wheel,
    helloTimeoutMs: 10_000,
    windowBytes: 64 << 10,
  });
  const send: TestAgent['send'] = (frame) =>
    carrier.message(toBinary(OpenSessionRequestSchema, create(OpenSessionRequestSchema, frame)));
  send({ frame: { case: 'hello', value: { maxInFlight: 16, ...hello } } });
  for (const frame of early) send(frame);
  await turns();
  return {
    channel,
    frames: () => channel.frames.map(({ frame }) => frame),
    deliveries: () => channel.frames.flatMap(({ frame }) => (frame.case === 'delivery' ? [frame.value] : [])),
    send,
    say: async (delivery, state, more = {}) => {
      frameIds += 1;
      const frameId = `f${frameIds}`;
      const { work } = delivery;
      if (work === undefined) throw new Error('a delivery without its work');
      send({ frameId, frame: { case: 'deliveryUpdate', value: { work, state, ...more } } });
      for (let round = 0; round < 50; round += 1) {
        await turns(2);
        for (const { frame } of channel.frames)
          if (frame.case === 'result' && frame.value.frameId === frameId) return frame.value.reason;
      }
      throw new Error('no result came');
    },
    breakOff: () => carrier.closed(),
  };
}

/** Puts a command into a mailbox; `key`: with another ordering key than commands have. */
export async function mail(
  fleet: TestFleet,
  agentId: string,
  id: string,
  more: { orderingKey?: string; payloadKey?: string; expireAfterMs?: number; maxTries?: number } = {},
): Promise<void> {
  const put = putCommand({
    id,
    agentId,
    type: 'poke',
    arguments: {},
    actor: 'test',
    storeMs: await fleet.store.now(),
    expireAfterMs: more.expireAfterMs,
    acceptWithinMs: 10_000,
    maxTries: more.maxTries ?? 5,
  });
  if (more.orderingKey !== undefined || more.payloadKey !== undefined) {
    const record = decodeDelivery(put.value);
    record.orderingKey = more.orderingKey ?? record.orderingKey;
    record.payloadKey = more.payloadKey ?? '';
    put.value = encodeDelivery(record);
  }
  await fleet.store.commit({ namespace: 'default', puts: [put] });
  await turns();
}
