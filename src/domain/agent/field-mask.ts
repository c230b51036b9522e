import { clone, type DescField } from '@bufbuild/protobuf';
import { type AgentSpec, AgentSpecSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { labelKeyFault } from '../validation/labels.ts';

/** Every field. */
const ALL = '*';
const LONGEST_KEY = 253 + 1 + 63;
const fields = new Map<string, DescField>(AgentSpecSchema.fields.map((field) => [field.name, field]));
const FIELD_NAMES = [...fields.keys()].join(', ');

interface Target {
  field: DescField;
  /** A key of a map: all after the first dot, so keys may hold dots and slashes. */
  key: string | undefined;
}

function parsePath(path: string): Target | undefined {
  const dot = path.indexOf('.');
  const field = fields.get(dot < 0 ? path : path.slice(0, dot));
  if (field === undefined || (dot >= 0 && field.fieldKind !== 'map')) return undefined;
  return { field, key: dot < 0 ? undefined : path.slice(dot + 1) };
}

/** What is wrong with a path of an update mask, or undefined. */
export function maskPathFault(path: string): string | undefined {
  if (path === ALL) return undefined;
  const target = parsePath(path);
  if (target === undefined) {
    return `must be "*", a field of AgentSpec (${FIELD_NAMES}), or a key of a map such as "labels.tier"`;
  }
  const { field, key } = target;
  if (key === undefined) return undefined;
  if (key === '' || key.length > LONGEST_KEY) return `must name a key of ${field.name}`;
  const fault = field.name === 'capacity' ? undefined : labelKeyFault(key);
  return fault === undefined ? undefined : `key ${fault}`;
}

/**
 * `current` with what the mask names taken from `update`; what is named and not in `update` is cleared. Paths are
 * valid; the result may break limits (say, on the number of labels) that neither side broke, so validate it.
 */
export function applySpecMask(current: AgentSpec, update: AgentSpec, paths: readonly string[]): AgentSpec {
  const source = clone(AgentSpecSchema, update);
  if (paths.includes(ALL)) return source;
  const result = clone(AgentSpecSchema, current);
  for (const path of paths) {
    const target = parsePath(path);
    if (target === undefined) throw new Error('an update mask was not validated');
    const { field, key } = target;
    const from = source as unknown as Record<string, unknown>;
    const to = result as unknown as Record<string, unknown>;
    if (key === undefined) copyOwn(from, to, field.localName);
    else copyOwn(from[field.localName] as object, to[field.localName] as object, key);
  }
  return result;
}

/** Own properties only: map keys such as "constructor" are the caller's, not the object's. */
function copyOwn(from: object, to: object, key: string): void {
  if (Object.hasOwn(from, key)) {
    const value: unknown = Reflect.get(from, key);
    Object.defineProperty(to, key, { value, enumerable: true, configurable: true, writable: true });
  } else {
    Reflect.deleteProperty(to, key);
  }
}
