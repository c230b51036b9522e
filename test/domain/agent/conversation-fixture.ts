import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type GoAway_Reason,
  OpenSessionRequestSchema,
  type OpenSessionResponse,
  OpenSessionResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { SessionProtocolOptions } from '../../../src/domain/agent/session-ports.ts';
import { type FrameChannel, StreamCarrier } from '../../../src/domain/agent/stream-carrier.ts';
import { validateFrame } from '../../../src/domain/validation/frames.ts';
import { DomainError } from '../../../src/lib/errors.ts';
import { startFleet, type TestFleet, turns } from './fleet-fixture.ts';

export const { CONNECTED, DISCONNECTED, LEFT, SUSPECT } = Agent_Liveness;
export type Up = MessageInitShape<typeof OpenSessionRequestSchema>;

export const nameOf = (error: DomainError): string =>
  Object.entries(ErrorReason).find(([, reason]) => reason === error.reason)?.[0] ?? '';

export let fleet: TestFleet;
export let token: string;

/** Starts a fleet with one registered agent, a1, for each test of the file. */
export function useFleet(): void {
  beforeEach(async () => {
    fleet = await startFleet();
    token = await fleet.register('a1');
  });
  afterEach(() => fleet.stop());
}

export function protocolOptions(): SessionProtocolOptions {
  return {
    sessions: fleet.sessions,
    deliveries: fleet.deliveries,
    messages: fleet.coordination.messages,
    background: fleet.background,
    validateFrame,
    wireError: (error) => ({
      code: 3,
      reason: error instanceof DomainError ? nameOf(error) : 'INTERNAL',
      detail: error instanceof Error ? error.message : '',
      retryAfterMs: error instanceof DomainError ? error.retryAfterMs : undefined,
    }),
    replicaId: 'replica-1',
    maxFrameBytes: 1 << 20,
    reconnectGraceMs: 30_000,
    pacing: fleet.pacing,
  };
}

/** A stream whose client reads at once, or (`reads` false) not at all. */
export class FakeChannel implements FrameChannel {
  readonly peer = '192.0.2.7:7';
  readonly frames: OpenSessionResponse[] = [];
  reads = true;
  end_: { error: unknown; abort: boolean; retire: boolean } | undefined;
  onDrain: (() => void) | undefined;
  #pending = 0;

  send(message: Uint8Array): void {
    if (this.end_ !== undefined) throw new Error('sent after the end');
    this.frames.push(fromBinary(OpenSessionResponseSchema, message));
    if (!this.reads) this.#pending += message.length;
  }

  pendingBytes(): number {
    return this.#pending;
  }

  end(error?: unknown, options?: { abort?: boolean; retire?: boolean }): void {
    this.end_ ??= { error, abort: options?.abort === true, retire: options?.retire === true };
  }

  drain(): void {
    this.reads = true;
    this.#pending = 0;
    this.onDrain?.();
  }

  cases(): (string | undefined)[] {
    return this.frames.map(({ frame }) => frame.case);
  }

  get reason(): string | undefined {
    const error = this.end_?.error;
    return error instanceof DomainError ? nameOf(error) : undefined;
  }
}

export function open(windowBytes = 256 << 10, with_: string | undefined = token) {
  const channel = new FakeChannel();
  const carrier = new StreamCarrier({
    protocol: protocolOptions(),
    channel,
    clock: fleet.clock,
    token: with_,
    wheel: fleet.wheel,
    helloTimeoutMs: 10_000,
    windowBytes,
  });
  const send = (frame: Up): void =>
    carrier.message(toBinary(OpenSessionRequestSchema, create(OpenSessionRequestSchema, frame)));
  return { channel, carrier, send };
}

export const hello: Up = { frame: { case: 'hello', value: { instanceId: 'p1' } } };
export const beat = (frameId = ''): Up => ({ frameId, frame: { case: 'heartbeat', value: {} } });
export const leave: Up = { frame: { case: 'leave', value: { reason: 'done' } } };

export async function opened(windowBytes?: number) {
  const stream = open(windowBytes);
  stream.send(hello);
  await turns(3);
  expect(stream.channel.cases()).toEqual(['welcome']);
  return stream;
}

export const goAways = (channel: FakeChannel): GoAway_Reason[] =>
  channel.frames.flatMap(({ frame }) => (frame.case === 'goAway' ? [frame.value.reason] : []));
export const results = (frames: readonly OpenSessionResponse[]) =>
  frames.flatMap(({ frame }) => (frame.case === 'result' ? [[frame.value.frameId, frame.value.reason]] : []));
