import type { Cell } from './cells.ts';
import { chunkKey, OpenChunk, SPAN_MS, type Subject, type Tier } from './chunks.ts';
import type { HistoryClock } from './history-clock.ts';
import type { Outbox } from './outbox.ts';

export interface TrackOptions {
  clock: HistoryClock;
  outbox: Outbox;
  /** Tells this life of this replica from all others: nobody else writes chunks of this name. */
  writer: string;
}

/** One subject's history in one tier, from one writer: the chunk of now, which is written again as it grows. */
export class Track {
  readonly #options: TrackOptions;
  readonly #namespace: string;
  readonly #tier: Tier;
  readonly #subject: Subject;
  readonly #stepMs: number;
  #chunk: OpenChunk | undefined;
  #generation = 0;

  constructor(options: TrackOptions, namespace: string, tier: Tier, subject: Subject, stepMs: number) {
    this.#options = options;
    this.#namespace = namespace;
    this.#tier = tier;
    this.#subject = subject;
    this.#stepMs = stepMs;
  }

  /** @param atMs in the step; later ones of the same subject are never earlier, but for another generation of the clock */
  add(atMs: number, generation: number, cells: Iterable<readonly [column: string, cell: Cell]>): void {
    const startMs = Math.floor(atMs / SPAN_MS[this.#tier]) * SPAN_MS[this.#tier];
    let chunk = this.#chunk;
    if (chunk === undefined || chunk.startMs !== startMs || this.#generation !== generation) {
      this.flush();
      chunk = new OpenChunk(startMs, this.#stepMs);
      this.#chunk = chunk;
      this.#generation = generation;
    }
    const index = chunk.indexOf(atMs);
    for (const [column, cell] of cells) chunk.add(column, index, cell);
  }

  /** What was added and is not handed over yet. */
  open(): { key: string; value: Uint8Array } | undefined {
    const chunk = this.#chunk;
    return chunk?.changed === true ? { key: this.#key(chunk), value: chunk.encode() } : undefined;
  }

  /** Hands over what was added since the last time. */
  flush(): void {
    const chunk = this.#chunk;
    if (chunk?.changed !== true) return;
    this.#options.outbox.put(this.#namespace, this.#key(chunk), chunk.encode());
    chunk.changed = false;
  }

  #key({ startMs }: OpenChunk): string {
    const { writer } = this.#options;
    const name = this.#generation === 0 ? writer : `${writer}.${this.#generation}`;
    return chunkKey(this.#tier, this.#subject, startMs, name);
  }
}

/** A writer's name: of a replica, and of one of its lives. */
export const writerName = (replicaId: string, startMs: number): string =>
  `${encodeURIComponent(replicaId)}.${Math.round(startMs).toString(36)}`;
