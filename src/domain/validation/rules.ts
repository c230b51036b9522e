import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { Violations } from '../../lib/violations.ts';

/** Checks the value of the field that `violations` stands at. */
export type Rule<T> = (violations: Violations, value: T) => void;

/** A rule for every field: a new field in proto/ does not compile until someone says what is allowed in it. */
export type FieldRules<S extends DescMessage> = {
  [K in keyof Omit<MessageShape<S>, '$typeName' | '$unknown'>]-?: Rule<MessageShape<S>[K]>;
};

/** Any value of its type will do. */
export const anything: Rule<unknown> = () => {};

interface CompiledField {
  local: string;
  /** The name in proto/; undefined for a oneof, whose cases have names of their own. */
  name: string | undefined;
  rule: Rule<unknown>;
}

/** The rule of a message: that of each field, in the order of `fields`, then what holds between fields. */
export function message<S extends DescMessage>(
  schema: S,
  fields: FieldRules<S>,
  between?: Rule<MessageShape<S>>,
): Rule<MessageShape<S>> {
  const names = new Map(schema.fields.map((field) => [field.localName, field.name]));
  const compiled = Object.entries(fields as Record<string, Rule<unknown>>)
    .filter(([, rule]) => rule !== anything)
    .map(([local, rule]): CompiledField => ({ local, name: names.get(local), rule }));
  return (violations, value) => {
    const record = value as unknown as Record<string, unknown>;
    for (const { local, name, rule } of compiled) {
      const field = record[local];
      if (name === undefined) {
        rule(violations, field);
      } else {
        violations.enter(name);
        rule(violations, field);
        violations.leave();
      }
    }
    between?.(violations, value);
  };
}

/** The rule of a message that may be absent. */
export function optional<T>(rule: Rule<T>): Rule<T | undefined> {
  return (violations, value) => {
    if (value !== undefined) rule(violations, value);
  };
}

/** The rule of a message that must be there. */
export function required<T>(rule: Rule<T>): Rule<T | undefined> {
  return (violations, value) => {
    if (value === undefined) violations.add('must be given');
    else rule(violations, value);
  };
}

/** The rule of a oneof in which no case may be set; `names` maps local case names to those in proto/. */
export function oneOf(
  cases: Record<string, { name: string; rule: Rule<never> }>,
): Rule<{ case: string | undefined; value?: unknown }> {
  return (violations, oneof) => {
    if (oneof.case === undefined) return;
    const chosen = cases[oneof.case];
    if (chosen === undefined) return;
    violations.enter(chosen.name);
    (chosen.rule as Rule<unknown>)(violations, oneof.value);
    violations.leave();
  };
}

export interface ListOptions<T> {
  max: number;
  item: Rule<T>;
  /** Two items with the same text are one too many. */
  distinct?: (item: T) => string;
}

/** The rule of a repeated field. Beyond `max`, items are not looked at. */
export function list<T>(options: ListOptions<T>): Rule<readonly T[]> {
  const { max, item, distinct } = options;
  return (violations, items) => {
    if (items.length > max) violations.add(`has ${items.length} entries; at most ${max} are allowed`);
    const checked = Math.min(items.length, max);
    for (let index = 0; index < checked; index++) {
      violations.enter(index);
      item(violations, items[index] as T);
      violations.leave();
    }
    if (distinct !== undefined && checked > 1) checkDistinct(violations, items.slice(0, max), distinct);
  };
}

function checkDistinct<T>(violations: Violations, items: readonly T[], identity: (item: T) => string): void {
  const first = new Map<string, number>();
  items.forEach((item, index) => {
    const text = identity(item);
    const earlier = first.get(text);
    if (earlier === undefined) {
      first.set(text, index);
      return;
    }
    violations.enter(index);
    violations.add(`repeats entry ${earlier}; entries must be distinct`);
    violations.leave();
  });
}

export interface MapOptions<V> {
  max: number;
  key: Rule<string>;
  value: Rule<V>;
}

/** The rule of a map. Beyond `max`, entries are not looked at. */
export function map<V>(options: MapOptions<V>): Rule<{ readonly [key: string]: V }> {
  const { max, key: keyRule, value: valueRule } = options;
  return (violations, entries) => {
    let count = 0;
    for (const key in entries) {
      if (!Object.hasOwn(entries, key)) continue;
      if (++count > max) {
        violations.add(`has ${Object.keys(entries).length} entries; at most ${max} are allowed`);
        return;
      }
      violations.enterKey(key);
      keyRule(violations, key);
      valueRule(violations, entries[key] as V);
      violations.leave();
    }
  };
}
