import { formatDuration } from '../duration.ts';
import type { KeySpec } from '../key.ts';
import type { FieldSpec } from './spec.ts';

/** A section of docs/configuration.md for each list of blocks. */
export function blockSections(keys: readonly KeySpec[]): string {
  return keys
    .flatMap(({ path, blocks }) => {
      if (blocks === undefined) return [];
      const rows = blocks.fields.map((field) => {
        const name = `\`${field.name}\`${field.required === true ? ' (required)' : ''}`;
        const cells = [name, typeWords(field), defaultWords(field), rangeWords(field), field.doc];
        return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
      });
      return `## \`${path}\`

${blocks.intro} At most ${blocks.max}.

| field | type | default | range | meaning |
|---|---|---|---|---|
${rows.join('\n')}
`;
    })
    .join('\n');
}

function typeWords(field: FieldSpec): string {
  if (field.words !== undefined) return field.words;
  switch (field.kind) {
    case 'integer':
      return 'whole number';
    case 'duration':
      return 'seconds or duration';
    case 'choice':
      return 'one word';
    case 'flag':
      return 'true or false';
    case 'texts':
      return 'list of texts';
    case 'prose':
      return 'text';
    default:
      return field.kind;
  }
}

function defaultWords({ kind, default: value }: FieldSpec): string {
  if (value === undefined || value === '') return '';
  if (kind === 'duration') return `\`${formatDuration(Number(value))}\``;
  return `\`${typeof value === 'object' ? JSON.stringify(value) : String(value)}\``;
}

function rangeWords({ kind, min, max, zero, choices }: FieldSpec): string {
  if (choices !== undefined) return choices.join(', ');
  if (max === undefined || kind === 'number' || kind === 'range') return '';
  if (kind === 'texts' || kind === 'map') return `at most ${max}`;
  if (kind === 'text' || kind === 'prose') return `at most ${max} characters`;
  const [from, to] = [min ?? 0, max].map((value) => (kind === 'duration' ? formatDuration(value) : value));
  return `${zero === true ? '0, or ' : ''}${from} to ${to}`;
}
