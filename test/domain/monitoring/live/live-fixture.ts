import { create, fromBinary, fromJson, type MessageInitShape, toBinary, toJson } from '@bufbuild/protobuf';
import {
  SystemStatusSchema,
  type WatchLiveRequest_Part,
  WatchLiveRequestSchema,
  type WatchLiveResponse,
  WatchLiveResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { EventLog } from '../../../../src/domain/monitoring/event-log.ts';
import { LiveStreams, type LiveStreamsOptions } from '../../../../src/domain/monitoring/live/live-streams.ts';
import { Topology } from '../../../../src/domain/monitoring/topology/topology.ts';
import { encode } from '../../../../src/lib/encode.ts';
import type { TestFleet } from '../../agent/fleet-fixture.ts';

type LiveFleet = Pick<
  TestFleet,
  | 'clock'
  | 'log'
  | 'views'
  | 'directory'
  | 'observations'
  | 'mailboxes'
  | 'store'
  | 'coordination'
  | 'resources'
> & { tasks: Pick<TestFleet['tasks'], 'view' | 'reader'> };

/** Live streams of a fleet. The fleet's clock moves on for them as real time passes. */
export function liveStreams(fleet: LiveFleet, overrides: Partial<LiveStreamsOptions> = {}): LiveStreams {
  const startMs = performance.now();
  return new LiveStreams({
    clock: {
      wallMs: () => fleet.clock.wallMs(),
      monoMs: () => fleet.clock.monoMs() + performance.now() - startMs,
    },
    log: fleet.log,
    replicaId: 'replica-1',
    views: fleet.views,
    directory: fleet.directory,
    observations: fleet.observations,
    counts: {
      deliveries: (namespace, agentId) => fleet.mailboxes.count(namespace, agentId),
      tasks: (namespace, agentId) => fleet.tasks.view.on(namespace, agentId).size,
    },
    events: new EventLog({ store: fleet.store, views: fleet.views, retentionMs: 60_000 }),
    tasks: fleet.tasks,
    operations: fleet.coordination.operations,
    usage: fleet.resources.usage,
    topology: new Topology({
      clock: fleet.clock,
      views: fleet.views,
      directory: fleet.directory,
      links: fleet.coordination.traffic.counts,
      health: (known) => fleet.observations.health(known),
      storeMs: () => fleet.clock.wallMs(),
    }),
    alerts: async function* () {},
    status: () => create(SystemStatusSchema, { version: '1.2.3' }),
    ...overrides,
  });
}

/** One watcher. What it gets has gone over the wire: by both encoders that serve bytes, or as JSON. */
export class Watcher {
  readonly #end = new AbortController();
  readonly #stream: AsyncGenerator<WatchLiveResponse, void, undefined>;
  readonly #json: boolean;

  constructor(
    streams: LiveStreams,
    request: MessageInitShape<typeof WatchLiveRequestSchema> & { parts: WatchLiveRequest_Part[] },
    json = false,
  ) {
    this.#json = json;
    this.#stream = streams.watch(create(WatchLiveRequestSchema, request), json, this.#end.signal);
  }

  async next(): Promise<WatchLiveResponse> {
    const { value, done } = await this.#stream.next();
    if (done === true || value === undefined) throw new Error('the stream ended');
    if (this.#json) {
      return fromJson(WatchLiveResponseSchema, toJson(WatchLiveResponseSchema, value));
    }
    const bytes = encode(WatchLiveResponseSchema, value);
    const again = fromBinary(WatchLiveResponseSchema, toBinary(WatchLiveResponseSchema, value));
    const told = fromBinary(WatchLiveResponseSchema, bytes);
    if (
      JSON.stringify(toJson(WatchLiveResponseSchema, told)) !==
      JSON.stringify(toJson(WatchLiveResponseSchema, again))
    ) {
      throw new Error('two encoders disagree');
    }
    return told;
  }

  /** All that comes up to the first message that is `last`. */
  async until(last: (told: WatchLiveResponse) => boolean): Promise<WatchLiveResponse[]> {
    const all: WatchLiveResponse[] = [];
    for (;;) {
      const told = await this.next();
      all.push(told);
      if (last(told)) return all;
    }
  }

  close(): void {
    this.#end.abort();
    this.#stream.return().catch(() => {});
  }
}
