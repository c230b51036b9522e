import { create } from '@bufbuild/protobuf';
import {
  type AgentChange,
  type AgentSample,
  WatchAgentsResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { WatchLiveRequest_Part } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { AgentHub } from './agent-hub.ts';
import type { FeedCursor } from './keyed-feed.ts';
import type { LiveNews, LivePart, PartContext } from './live-part.ts';
import { Piece } from './wire.ts';

export interface AgentsPartOptions extends PartContext {
  hub: AgentHub;
  clock: Clock;
  /** The watcher is gone. */
  closed(): void;
}

const MAX_CHANGES = 256;
/** Small and many: fewer turns of the event loop are worth more than fairness to the byte. */
const MAX_SAMPLES = 1024;
const MAX_BYTES = 128 * 1024;
/** So long one message may be made; what others have made already takes next to nothing. */
const MAX_MS = 4;
/** Entries between two looks at the clock. */
const STEP = 32;
/** Changes are told together with those that come within this time. */
const GATHER_MS = 50;

/** Fields of WatchAgentsResponse. */
const CHANGES = 1;
const SYNCED = 3;
const SAMPLES = 4;

/** All agents of a namespace: what is stored of them as it changes, and what is measured of them in turns. */
export class AgentsPart implements LivePart {
  readonly part = WatchLiveRequest_Part.AGENTS;
  readonly #options: AgentsPartOptions;
  readonly #changes: FeedCursor;
  readonly #samples: FeedCursor;
  #changesMs = 0;
  #samplesMs = 0;
  #toldSynced = false;

  constructor(options: AgentsPartOptions) {
    this.#options = options;
    this.#changes = options.hub.changes.cursor();
    this.#samples = options.hub.samples.cursor();
  }

  take(): LiveNews | undefined {
    const nowMs = this.#options.clock.monoMs();
    if (this.#changes.inPass || (this.#changes.behind && nowMs >= this.#changesMs)) {
      const news = this.#nextChanges();
      if (!this.#changes.inPass) this.#changesMs = nowMs + GATHER_MS;
      if (news !== undefined) return news;
    }
    if (!this.#toldSynced && this.#changes.synced) {
      this.#toldSynced = true;
      return this.#news([], []);
    }
    if (!this.#samples.inPass) {
      if (nowMs < this.#samplesMs) return undefined;
      this.#samplesMs = nowMs + this.#options.intervalMs;
      this.#options.hub.sweep();
    }
    return this.#nextSamples();
  }

  dueMs(): number {
    if (this.#changes.inPass || this.#samples.inPass || !this.#toldSynced) return 0;
    return this.#changes.behind ? Math.min(this.#changesMs, this.#samplesMs) : this.#samplesMs;
  }

  close(): void {
    this.#changes.close();
    this.#samples.close();
    this.#options.closed();
  }

  #nextChanges(): LiveNews | undefined {
    const { hub, json } = this.#options;
    const changes: AgentChange[] = [];
    const encoded: Uint8Array[] = [];
    let bytes = 0;
    const isTime = this.#timer();
    while (changes.length + encoded.length < MAX_CHANGES && bytes < MAX_BYTES && !isTime()) {
      const entry = this.#changes.next();
      if (entry === undefined) break;
      if (json) changes.push(hub.change(entry));
      else {
        const one = hub.changeBytes(entry);
        encoded.push(one);
        bytes += one.length;
      }
      if (!this.#changes.inPass) break;
    }
    if (changes.length + encoded.length === 0) return undefined;
    return json ? this.#news(changes, []) : this.#bytes(CHANGES, encoded);
  }

  #nextSamples(): LiveNews | undefined {
    const { hub, json } = this.#options;
    const samples: AgentSample[] = [];
    const encoded: Uint8Array[] = [];
    let bytes = 0;
    const isTime = this.#timer();
    while (samples.length + encoded.length < MAX_SAMPLES && bytes < MAX_BYTES && !isTime()) {
      const entry = this.#samples.next();
      if (entry === undefined) break;
      if (json) {
        const sample = entry.removed ? undefined : hub.sample(entry.key);
        if (sample !== undefined) samples.push(sample);
      } else {
        const one = hub.sampleBytes(entry);
        if (one !== undefined) {
          encoded.push(one);
          bytes += one.length;
        }
      }
      if (!this.#samples.inPass) break;
    }
    if (samples.length + encoded.length === 0) return undefined;
    return json ? this.#news([], samples) : this.#bytes(SAMPLES, encoded);
  }

  /** Tells whether the message has taken long enough. */
  #timer(): () => boolean {
    const { clock } = this.#options;
    const untilMs = clock.monoMs() + MAX_MS;
    let entries = 0;
    return () => {
      entries += 1;
      return entries % STEP === 0 && clock.monoMs() >= untilMs;
    };
  }

  #news(changes: AgentChange[], samples: AgentSample[]): LiveNews {
    const value = create(WatchAgentsResponseSchema, { changes, samples, synced: this.#toldSynced });
    return { case: 'agents', value };
  }

  #bytes(field: number, entries: readonly Uint8Array[]): LiveNews {
    const piece = new Piece();
    for (const entry of entries) piece.field(field, entry);
    return { case: 'agents', bytes: piece.number(SYNCED, this.#toldSynced ? 1 : 0).bytes() };
  }
}
