/** Reads what the scripts write with `#text .. ':' .. text`: lengths first, so that any bytes may follow. */
export class NetstringReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** One byte that stands between netstrings. */
  letter(): string {
    return String.fromCharCode(this.#bytes[this.#at++] ?? 0);
  }

  bytes(): Buffer {
    const colon = this.#bytes.indexOf(58, this.#at);
    const length = colon < 0 ? Number.NaN : Number(this.#bytes.toString('latin1', this.#at, colon));
    const start = colon + 1;
    if (!Number.isInteger(length) || start + length > this.#bytes.length)
      throw new Error('a record in Redis is cut off');
    this.#at = start + length;
    return this.#bytes.subarray(start, this.#at);
  }

  text(): string {
    return this.bytes().toString();
  }
}
