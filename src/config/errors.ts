/** One mistake in the configuration. */
export interface ConfigFault {
  /** The key's path, such as "session.lease"; empty when it is about a whole file. */
  path: string;
  /** "file:line:column", a file's name, an environment variable, a flag, or "default". */
  source: string;
  /** What is wrong and what is allowed, in a sentence; never a secret. */
  message: string;
}

/** Every mistake that was found, at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly faults: readonly ConfigFault[];

  constructor(faults: readonly ConfigFault[]) {
    super(`the configuration has ${faults.length === 1 ? 'a mistake' : `${faults.length} mistakes`}`);
    this.faults = faults;
  }
}

/** One line a fault: where, which key, what. */
export function formatConfigError(error: ConfigError): string {
  return error.faults
    .map(({ source, path, message }) => [source, path, message].filter((part) => part !== '').join(': '))
    .join('\n');
}

const LONGEST_SHOWN = 60;

/** A value for an error text: quoted, on one line, bounded, and of a URL only its scheme. */
export function shown(value: unknown): string {
  const text = String(value).replace(/:\/\/.*/s, '://***');
  const cut = text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text;
  return JSON.stringify(cut);
}
