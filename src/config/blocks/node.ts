import { isMap, isScalar, isSeq, type Node, type Pair } from 'yaml';
import type { Raw } from '../values.ts';

/** A piece of YAML as it was found, with its place "file:line:column". */
export type RawNode =
  | { kind: 'nothing'; at: string }
  | { kind: 'scalar'; at: string; value: Raw }
  | { kind: 'list'; at: string; items: readonly RawNode[] }
  | { kind: 'map'; at: string; entries: readonly RawEntry[] };

export interface RawEntry {
  name: string;
  /** Place of the name. */
  at: string;
  value: RawNode;
}

/** How nodes are found and mistakes noted; the walk through a document does both. */
export interface NodeReader {
  /** Follows aliases, which it counts; undefined: there is nothing. */
  resolve(node: unknown, path: string): Node | undefined;
  keyName(pair: Pair, path: string): string | undefined;
  at(node: unknown): string;
}

/** A list of blocks whose fields are lists or maps of scalars is that deep. */
const MAX_DEPTH = 4;
/** In one list or map; what is beyond is left out, and the parser finds that it is too many. */
const MAX_ITEMS = 300;

/** Takes a node with all that is in it. What is nested deeper than any block is nothing, which is a mistake there. */
export function readNode(node: unknown, path: string, reader: NodeReader, depth = 0): RawNode {
  const at = reader.at(node);
  const resolved = depth < MAX_DEPTH ? reader.resolve(node, path) : undefined;
  if (resolved === undefined) return { kind: 'nothing', at };
  if (isSeq(resolved)) {
    const items = resolved.items.slice(0, MAX_ITEMS).map((item) => readNode(item, path, reader, depth + 1));
    return { kind: 'list', at, items };
  }
  if (isMap(resolved)) {
    const entries = resolved.items.slice(0, MAX_ITEMS).flatMap((pair): RawEntry[] => {
      const name = reader.keyName(pair, path);
      if (name === undefined) return [];
      return [{ name, at: reader.at(pair.key), value: readNode(pair.value, path, reader, depth + 1) }];
    });
    return { kind: 'map', at, entries };
  }
  if (isScalar(resolved) && resolved.value !== null && resolved.value !== undefined) {
    return { kind: 'scalar', at, value: resolved.value as Raw };
  }
  return { kind: 'nothing', at };
}
