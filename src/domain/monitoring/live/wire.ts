/*
 * Pieces of encoded messages, put together from bytes that are shared by all watchers: what an agent's reading is encoded to
 * once, each watcher's message holds as it is.
 */

/** A tag of a length-delimited field. */
const tagOf = (field: number): number => field * 8 + 2;

const sizeOf = (value: number): number => {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) size += 1;
  return size;
};

/** Collects fields of one message. Numbers are whole and below 2^53. */
export class Piece {
  readonly #chunks: Uint8Array[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** A message, text or bytes that are there already. */
  field(field: number, ...parts: readonly Uint8Array[]): this {
    let size = 0;
    for (const part of parts) size += part.length;
    this.#head(tagOf(field), size);
    for (const part of parts) this.#add(part);
    return this;
  }

  /** A number that is not negative; 0 is left out. */
  number(field: number, value: number): this {
    if (value > 0) this.#head(field * 8, value);
    return this;
  }

  text(field: number, value: string): this {
    return value === '' ? this : this.field(field, Buffer.from(value));
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#chunks, this.#size);
  }

  /** As the data of a length-delimited field: with its length before it. */
  delimited(): Uint8Array {
    return Buffer.concat([varint(this.#size), ...this.#chunks]);
  }

  #head(tag: number, value: number): void {
    const head = Buffer.allocUnsafe(sizeOf(tag) + sizeOf(value));
    writeVarint(head, writeVarint(head, 0, tag), value);
    this.#add(head);
  }

  #add(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }
}

/** Bytes with their length before them. */
export function delimited(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([varint(bytes.length), bytes]);
}

function varint(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(sizeOf(value));
  writeVarint(bytes, 0, value);
  return bytes;
}

function writeVarint(to: Buffer, at: number, value: number): number {
  let place = at;
  let rest = value;
  while (rest > 0x7f) {
    to[place++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  to[place++] = rest;
  return place;
}
