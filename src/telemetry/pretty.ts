const COLOURS: Readonly<Record<string, string>> = {
  trace: '\u001b[90m',
  debug: '\u001b[36m',
  info: '\u001b[32m',
  warn: '\u001b[33m',
  error: '\u001b[31m',
};
const DIM = '\u001b[2m';
const RESET = '\u001b[0m';

/** A JSON line for people: `12:34:56.789 INFO  message key=value`; the stack of an error follows, indented. */
export function prettyLine(line: string, colours: boolean): string {
  const record = parsed(line);
  if (record === undefined) return line;
  const { level, time, msg, err, ...fields } = record;
  const label = String(level);
  const paint = (text: string, code: string | undefined) =>
    colours && code !== undefined ? `${code}${text}${RESET}` : text;
  const clock = typeof time === 'string' ? time.slice(11, 23) : '';
  const pairs = Object.entries(fields).map(
    ([key, value]) => `${paint(`${clean(key)}=`, DIM)}${shown(value)}`,
  );
  const error = errorText(err);
  if (error !== undefined) pairs.push(`${paint('err=', DIM)}${JSON.stringify(error.summary)}`);
  const head = `${paint(clock, DIM)} ${paint(label.toUpperCase().padEnd(5), COLOURS[label])} ${clean(String(msg ?? ''))}`;
  const stack = error?.stack === undefined ? '' : `\n${error.stack}`;
  return `${[head, ...pairs].join(' ')}${stack}\n`;
}

function parsed(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function shown(value: unknown): string {
  if (typeof value === 'string' && /^[\w.:/@+-]+$/.test(value)) return value;
  return clean(JSON.stringify(value));
}

function errorText(err: unknown): { summary: string; stack?: string } | undefined {
  if (typeof err !== 'object' || err === null)
    return err === undefined ? undefined : { summary: clean(String(err)) };
  const { type, message, stack } = err as Record<string, unknown>;
  const summary = clean(`${String(type)}: ${String(message)}`);
  if (typeof stack !== 'string') return { summary };
  const frames = stack.split('\n').filter((line) => line.startsWith('    at '));
  return { summary, stack: frames.map(clean).join('\n') };
}

/** Without what would steer the terminal: text may come from agents. */
function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd');
}
