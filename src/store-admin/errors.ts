/** What kept a store from being moved, and what a command's exit code follows from. */
export type StoreAdminReason =
  /** Asked for in a way that cannot be meant. */
  | 'usage'
  /** The target holds data already. */
  | 'conflict'
  | 'failed'
  /** Ctrl-C. */
  | 'interrupted';

/** One clear line for the operator; no secrets. */
export class StoreAdminError extends Error {
  override readonly name = 'StoreAdminError';
  readonly reason: StoreAdminReason;
  constructor(reason: StoreAdminReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
