import { CellBuilder, evenCell } from './cells.ts';
import { columnName, STEP_MS, type Subject, type Tier } from './chunks.ts';
import { Track, type TrackOptions } from './track.ts';

/** What was measured of one figure. */
export interface Sample {
  metric: string;
  resource: string;
  value: number;
}

/** The history of a fleet, zone, replica or service: samples as they are, and their minutes. */
export class SampledHistory {
  readonly #raw: Track;
  readonly #minutes: Track;
  readonly #stepMs: number;
  readonly #open = new Map<string, CellBuilder>();
  /** The minute that is open, and the generation of the clock that it is of. */
  #minute = -1;
  #generation = 0;
  #lastRaw = -1;

  constructor(options: TrackOptions, namespace: string, subject: Subject, stepMs: number) {
    this.#raw = new Track(options, namespace, 'raw', subject, stepMs);
    this.#minutes = new Track(options, namespace, 'minutes', subject, STEP_MS.minutes);
    this.#stepMs = stepMs;
  }

  /** Of each figure one sample. One that comes in the same step as the one before counts for its minute only. */
  sample(atMs: number, generation: number, samples: readonly Sample[]): void {
    const minute = Math.floor(atMs / STEP_MS.minutes);
    if (minute !== this.#minute || generation !== this.#generation) this.closeMinute();
    if (generation !== this.#generation) this.#lastRaw = -1;
    this.#minute = minute;
    this.#generation = generation;
    const step = Math.floor(atMs / this.#stepMs);
    const isNew = step > this.#lastRaw;
    this.#lastRaw = Math.max(step, this.#lastRaw);
    const cells: [string, ReturnType<typeof evenCell>][] = [];
    for (const { metric, resource, value } of samples) {
      const column = columnName(metric, resource);
      let builder = this.#open.get(column);
      if (builder === undefined) {
        builder = new CellBuilder();
        this.#open.set(column, builder);
      }
      builder.add(value);
      if (isNew) cells.push([column, evenCell(1, value)]);
    }
    if (cells.length > 0) this.#raw.add(atMs, generation, cells);
  }

  /** Its minute is over, or everything is. */
  closeMinute(): void {
    if (this.#minute < 0) return;
    const cells = [...this.#open].flatMap(([column, builder]) => {
      const cell = builder.take();
      return cell === undefined ? [] : [[column, cell] as const];
    });
    this.#open.clear();
    if (cells.length > 0) this.#minutes.add(this.#minute * STEP_MS.minutes, this.#generation, cells);
    this.#minute = -1;
  }

  open(tier: Tier): { key: string; value: Uint8Array } | undefined {
    return tier === 'raw' ? this.#raw.open() : tier === 'minutes' ? this.#minutes.open() : undefined;
  }

  flush(): void {
    this.#raw.flush();
    this.#minutes.flush();
  }
}
