import type { ConfigFault } from '../errors.ts';
import { didYouMean } from '../suggest.ts';
import { parseField, printable } from './field.ts';
import type { RawEntry, RawNode } from './node.ts';
import type { BlockSpec, CheckedBlock } from './spec.ts';

/** A block as it was read. */
export interface ParsedBlock {
  /** "alerts.rules[2]". */
  path: string;
  /** Its values by their names in Config, defaults included. */
  values: Readonly<Record<string, unknown>>;
  /** Fields that were written wrongly. */
  wrong: ReadonlySet<string>;
  /** Place of a field, or of the block if it has none of that name. */
  at(field: string): string;
}

export interface ParsedBlocks {
  blocks: readonly ParsedBlock[];
  faults: readonly ConfigFault[];
}

const MAX_FAULTS = 100;

/** Reads a list of blocks; every mistake is told with its path and place. */
export function parseBlocks(path: string, spec: BlockSpec, node: RawNode): ParsedBlocks {
  const faults: ConfigFault[] = [];
  const fault = (at: string, where: string, message: string): void => {
    if (faults.length < MAX_FAULTS) faults.push({ path: where, source: at, message });
  };
  if (node.kind !== 'list') {
    fault(node.at, path, `must be a list of ${spec.noun}s, each with fields of its own`);
    return { blocks: [], faults };
  }
  if (node.items.length > spec.max) {
    fault(node.at, path, `must have at most ${spec.max} ${spec.noun}s`);
    return { blocks: [], faults };
  }
  const blocks = node.items.flatMap((item, index): ParsedBlock[] => {
    const where = `${path}[${index}]`;
    if (item.kind === 'map') return [parseBlock(where, spec, item, fault)];
    fault(item.at, where, `must be a ${spec.noun} with fields of its own`);
    return [];
  });
  tellTwins(blocks, spec, fault);
  return { blocks, faults };
}

type Fault = (at: string, path: string, message: string) => void;

function parseBlock(
  path: string,
  spec: BlockSpec,
  node: RawNode & { kind: 'map' },
  fault: Fault,
): ParsedBlock {
  const byName = new Map(spec.fields.map((field) => [field.name, field]));
  const written = new Map<string, RawEntry>();
  const wrong = new Set<string>();
  const values: Record<string, unknown> = {};
  for (const field of spec.fields) if (field.default !== undefined) values[field.to] = field.default;
  for (const entry of node.entries) {
    const { name, at } = entry;
    const field = byName.get(name);
    const where = `${path}.${printable(name)}`;
    if (field === undefined) fault(at, where, `unknown key${didYouMean(name, byName.keys())}`);
    else if (written.has(name)) fault(at, where, 'this key stands there twice');
    else {
      written.set(name, entry);
      const value =
        entry.value.kind === 'nothing'
          ? void fault(at, where, 'has no value')
          : parseField(field, entry.value, (place, inside, message) => fault(place, where + inside, message));
      if (value === undefined) wrong.add(name);
      else values[field.to] = value;
    }
  }
  const placeOf = (name: string): string => {
    const value = written.get(name)?.value;
    return value === undefined || value.kind === 'nothing' ? (written.get(name)?.at ?? node.at) : value.at;
  };
  for (const field of spec.fields) {
    if (field.required !== true || written.has(field.name)) continue;
    wrong.add(field.name);
    fault(node.at, `${path}.${field.name}`, `is missing: every ${spec.noun} must have it`);
  }
  const block: CheckedBlock = {
    values,
    has: (name) => written.has(name),
    wrong: (name) => wrong.has(name),
    set: (to, value) => {
      values[to] = value;
    },
    fault: (name, message) => {
      wrong.add(name);
      fault(placeOf(name), `${path}.${name}`, message);
    },
  };
  spec.check(block);
  return { path, values, wrong, at: placeOf };
}

/** Names tell blocks apart. */
function tellTwins(blocks: readonly ParsedBlock[], spec: BlockSpec, fault: Fault): void {
  const first = new Map<unknown, string>();
  for (const block of blocks) {
    if (block.wrong.has('name')) continue;
    const before = first.get(block.values.name);
    if (before === undefined) first.set(block.values.name, block.path);
    else fault(block.at('name'), `${block.path}.name`, `another ${spec.noun} has this name: ${before}`);
  }
}
