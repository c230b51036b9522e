/** A listener could not be opened as configured: one clear line for the operator. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
}
