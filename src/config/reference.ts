import { blockSections } from './blocks/reference.ts';
import { formatDuration } from './duration.ts';
import { envName, flagName, type KeySpec } from './key.ts';
import { KEYS, OTHER_VARIABLES } from './schema.ts';
import { formatted } from './values.ts';

/** One key of docs/configuration.md. */
export interface ReferenceRow {
  key: string;
  /** What may be written. */
  type: string;
  /** As written in YAML; empty: none. */
  default: string;
  range: string;
  meaning: string;
  variable: string;
  flag: string;
}

export function configReference(): ReferenceRow[] {
  return KEYS.map((key) => ({
    key: key.path,
    type: typeWords(key),
    default: defaultWords(key),
    range: rangeWords(key),
    meaning: key.doc,
    variable: envName(key.path),
    flag: flagName(key.path),
  }));
}

function typeWords(key: KeySpec): string {
  switch (key.kind) {
    case 'integer':
      return key.unit ?? 'whole number';
    case 'duration':
      return 'seconds or duration';
    case 'milliseconds':
      return 'milliseconds or duration';
    case 'choice':
      return 'one word';
    case 'choices':
      return 'list of words';
    case 'selectors':
      return 'list of selectors';
    case 'factors':
      return 'list of name=factor';
    case 'listen':
      return 'address';
    case 'store':
      return 'URL';
    case 'database':
      return 'name or URL';
    case 'blocks':
      return `list of ${key.blocks?.noun}s`;
    default:
      return key.kind;
  }
}

function defaultWords(key: KeySpec): string {
  if (key.default === undefined) return '';
  if (typeof key.default === 'string' || typeof key.default === 'number') return String(key.default);
  return key.kind === 'blocks' ? '[]' : `[${key.default.join(', ')}]`;
}

function rangeWords(key: KeySpec): string {
  if (key.choices !== undefined) return key.choices.join(', ');
  if (key.blocks !== undefined) return `at most ${key.blocks.max}`;
  if (key.min === undefined || key.max === undefined) return '';
  const range = `${formatted(key, key.min)} to ${formatted(key, key.max)}`;
  if (key.kind === 'text') return `${range} characters`;
  return key.zero === true ? `0, or ${range}` : range;
}

/** docs/configuration.md; a test holds the file to it. */
export function configReferenceMarkdown(): string {
  const rows = configReference().map((row) => {
    const cells = [code(row.key), row.type, code(row.default), row.range, row.meaning];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  const variables = Object.entries(OTHER_VARIABLES).map(([name, doc]) => `| ${code(name)} | ${doc} |`);
  return `${intro()}
## Keys

| key | type | default | range | meaning |
|---|---|---|---|---|
${rows.join('\n')}

Rules between keys: \`session.lease\` is at least three times \`session.ping_interval\` and not shorter than
\`session.flush_interval\`; \`shutdown.spread\` is not longer than \`shutdown.timeout\`; \`tls.cert_file\` and \`tls.key_file\`
come together; the two listeners and the three databases differ; \`redis.min_replicas\` needs a Redis store,
\`redis.sentinel_user\` and \`redis.sentinel_password\` one at \`redis+sentinel://\`.

${blockSections(KEYS)}
## Other variables

| variable | meaning |
|---|---|
${variables.join('\n')}

Telemetry is set up by the standard \`OTEL_*\` variables, see [observability](observability.md).
`;
}

function code(text: string): string {
  return text === '' ? '' : `\`${text}\``;
}

function intro(): string {
  const example = 'session.ping_interval';
  return `# Configuration

<!-- Made from src/config/schema.ts: change it there, then run "npx vitest run --project unit test/config -u". -->

Settings come from a YAML file (\`--config <file>\` or \`ORCHESTRATOR_CONFIG\`), then from environment variables, then from
flags; later ones win, and what is set nowhere has its default. Everything is checked at start: all mistakes are told at
once with file, line and column (or the variable or flag), and the exit code is 2. Unknown keys, variables and flags are
mistakes too. \`orchestrator config check\` checks without starting; \`orchestrator config show\` prints the effective values
and where each came from, with passwords blanked.

In the file all keys stand under \`orchestrator:\`. The variable of a key is \`ORCHESTRATOR_\` and its path in capitals, its
flag is its path with dashes:

| file | variable | flag |
|---|---|---|
| \`orchestrator: { session: { ping_interval: 5s } }\` | \`${envName(example)}=5s\` | \`${flagName(example)}=5s\` |

- **Durations** are a number of seconds or have a unit: \`500ms\`, \`5s\`, \`2m\`, \`1h\`, \`${formatDuration(604_800_000)}\`, \`1h30m\`.
  \`alert_thresholds.communication_latency\` counts milliseconds if it has no unit.
- **Lists** in variables and flags are separated by commas, \`relationships\` by semicolons (selectors hold commas).
- **Lists of blocks** are lists of maps in the file, and the same as YAML or JSON text in variables and flags, where they take
  the place of the whole list: \`ORCHESTRATOR_SERVICES='[{name: db, probe: tcp, target: "db:5432"}]'\`.
- **Addresses** are \`host:port\`; IPv6 addresses stand in brackets: \`[::1]:50051\`. \`0.0.0.0\` or \`[::]\` is every interface.
- **Selectors** have the syntax of Kubernetes: \`env=prod,tier in (a, b),!old\`.
- **Empty variables** count as not set. Variables that Kubernetes adds for a Service called "orchestrator"
  (\`ORCHESTRATOR_SERVICE_HOST\`, \`ORCHESTRATOR_PORT…\`) are ignored.
- The file may have at most 64 KiB.
`;
}
