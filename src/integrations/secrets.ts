/** What may stand in an error of an excerpt of an answer, at most. */
const EXCERPT = 200;

/** What is shorter is no secret, and would blank half of every text. */
const SHORTEST = 4;

/** Blanks what must not reach logs, errors and status. */
export class Secrets {
  readonly #words = new Set<string>();

  /** Also as URLs and the basic scheme write it. */
  add(...secrets: readonly (string | undefined)[]): void {
    for (const secret of secrets) {
      if (secret === undefined || secret.length < SHORTEST) continue;
      this.#words.add(secret);
      this.#words.add(encodeURIComponent(secret));
    }
  }

  blank(text: string): string {
    let blanked = text;
    // The longest first: one may be a part of another.
    for (const word of [...this.#words].sort((a, b) => b.length - a.length))
      blanked = blanked.replaceAll(word, '***');
    return blanked;
  }

  /** The beginning of what a sink said, on one line, without control characters. */
  excerpt(text: string): string {
    const line = this.blank(text)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
      .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g, ' ')
      .trim();
    return line.length <= EXCERPT ? line : `${line.slice(0, EXCERPT)}…`;
  }
}
