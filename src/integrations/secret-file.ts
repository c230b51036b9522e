import { readFile, stat } from 'node:fs/promises';

/** Nobody has a key that is longer. */
const MAX_BYTES = 16_384;

/** A secret that is a file's content, read again when the file changes. Without line ends behind it. */
export class SecretFile {
  readonly #path: string;
  #version = '';
  #secret = '';

  constructor(path: string) {
    this.#path = path;
  }

  /** @throws Error whose text has the code alone: a path tells something, and the content all */
  async read(): Promise<string> {
    try {
      const { mtimeMs, size, ino } = await stat(this.#path);
      const version = `${mtimeMs}.${ino}.${size}`;
      if (version === this.#version) return this.#secret;
      if (size > MAX_BYTES) throw new Error(`has more than ${MAX_BYTES} bytes`);
      const secret = (await readFile(this.#path, 'utf8')).replace(/[\r\n]+$/, '');
      if (secret === '') throw new Error('is empty');
      this.#secret = secret;
      this.#version = version;
      return secret;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new Error(`secret_file ${code === undefined ? message : `cannot be read: ${code}`}`);
    }
  }
}
