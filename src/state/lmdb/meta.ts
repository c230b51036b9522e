import type { Holder } from './holder.ts';

/** What an environment says of itself. JSON, so that any later version can read it, whatever else changed. */
export interface Meta {
  /** The layout of keys and records. */
  format: number;
  /** The store's epoch, decimal: Unix seconds of its creation. */
  epoch: string;
  /** Who has it open; absent after an orderly close. */
  holder?: Holder;
  /** A transfer into it was begun then (ISO 8601) and not completed: it is no store. */
  importing?: string;
}

/** Version of the layout in `keys.ts` and `records.ts`. */
export const FORMAT = 1;

export const writeMeta = (meta: Meta): Buffer =>
  Buffer.from(JSON.stringify({ store: 'orchestrator', ...meta }));

/** Throws an Error with a clear message if this is not a record of this service or of a newer version. */
export function readMeta(bytes: Uint8Array): Meta {
  let parsed: Partial<Meta> & { store?: unknown };
  try {
    parsed = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw new Error('it holds data of something else');
  }
  if (
    parsed?.store !== 'orchestrator' ||
    typeof parsed.format !== 'number' ||
    typeof parsed.epoch !== 'string'
  ) {
    throw new Error('it holds data of something else');
  }
  if (parsed.format > FORMAT) {
    throw new Error(
      `its format is ${parsed.format}, and this version knows up to ${FORMAT}: it was written by a newer one`,
    );
  }
  const { format, epoch, holder, importing } = parsed;
  return { format, epoch, ...(holder && { holder }), ...(importing !== undefined && { importing }) };
}
