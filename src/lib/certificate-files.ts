import { readFile, stat } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { ListenError } from './listen-error.ts';
import type { Logger } from './logger.ts';

export interface CertificatePair {
  cert: Buffer;
  key: Buffer;
}

export interface CertificateFilesOptions {
  certFile: string;
  keyFile: string;
  /** The configuration key of the listener, for errors. */
  key: string;
  log: Logger;
  pollMs: number;
  /** Called with each new pair that fits together. */
  onChange: (pair: CertificatePair) => void;
}

/** A certificate and its key in files, read anew when they change. Polled, because mounted secrets change by symlink. */
export class CertificateFiles {
  readonly #options: CertificateFilesOptions;
  readonly #timer: NodeJS.Timeout;
  #pair: CertificatePair;
  #version: string;
  #checking = false;

  private constructor(options: CertificateFilesOptions, pair: CertificatePair, version: string) {
    this.#options = options;
    this.#pair = pair;
    this.#version = version;
    this.#timer = setInterval(() => {
      this.#check().catch((error: unknown) =>
        options.log.warn(
          { err: error, listener: options.key },
          'certificate not reloaded; the old one stays',
        ),
      );
    }, options.pollMs);
    this.#timer.unref();
  }

  /** Throws a ListenError if the files cannot be read or do not fit together. */
  static async open(options: CertificateFilesOptions): Promise<CertificateFiles> {
    try {
      const version = await versionOf(options);
      return new CertificateFiles(options, await read(options), version);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new ListenError(`${options.key}: TLS certificate or key unusable: ${why}`);
    }
  }

  get pair(): CertificatePair {
    return this.#pair;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** A pair caught half written does not fit together: it is reported, and tried again at the next look. */
  async #check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    try {
      const version = await versionOf(this.#options);
      if (version === this.#version) return;
      this.#pair = await read(this.#options);
      this.#version = version;
      this.#options.onChange(this.#pair);
      this.#options.log.info({ listener: this.#options.key }, 'certificate reloaded');
    } finally {
      this.#checking = false;
    }
  }
}

async function read(files: { certFile: string; keyFile: string }): Promise<CertificatePair> {
  const pair = { cert: await readFile(files.certFile), key: await readFile(files.keyFile) };
  createSecureContext(pair);
  return pair;
}

async function versionOf(files: { certFile: string; keyFile: string }): Promise<string> {
  const stats = [await stat(files.certFile), await stat(files.keyFile)];
  return stats.map(({ mtimeMs, ino, size }) => `${mtimeMs}.${ino}.${size}`).join('/');
}
