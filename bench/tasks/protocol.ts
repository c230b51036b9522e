/** What the bench, its submitter and its workers, processes of their own, say to each other. */

export type Carrier = 'orchestrator' | 'bullmq';

export interface Place {
  carrier: Carrier;
  /** "host:port" of the gRPC listener, or of Redis. */
  address: string;
}

export interface OpenWorkers extends Place {
  kind: 'open-workers';
  /** Each on a connection of its own. */
  workers: number;
  /** Tasks of each at a time. */
  slots: number;
  /** A worker says that it begins before it says that it is done, and waits until that is stored. */
  accepts: boolean;
}

export interface OpenSubmitter extends Place {
  kind: 'open-submitter';
}

/** Tasks at a rate, or as many as keep `window` under way. */
export interface Submit {
  kind: 'submit';
  ratePerSecond: number;
  /** 0: at the rate. */
  window: number;
  durationMs: number;
}

export type TaskCommand =
  | OpenWorkers
  | OpenSubmitter
  | Submit
  /** How many tasks are over: said by the workers, for the submitter's window. */
  | { kind: 'over'; count: number }
  | { kind: 'times' };

/** By a task's number, milliseconds of the machine's monotonic clock; NaN: not yet. */
export type Moments = number[];

export type TaskAnswer =
  | { kind: 'ready' }
  | { kind: 'failed'; detail: string }
  /** Not an answer: workers say it whenever it grew. */
  | { kind: 'over'; count: number }
  | { kind: 'submitted'; sent: Moments; stored: Moments }
  | { kind: 'times'; began: Moments; running: Moments };

/** The same clock in all processes of the machine. */
export const nowMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;
