import type { DescEnum } from '@bufbuild/protobuf';

/** The name of an enum's value without its type's prefix: CONNECTED. A value that is newer than this CLI shows its number. */
export function enumName(schema: DescEnum, value: number): string {
  const name = schema.value[value]?.name;
  if (name === undefined) return `UNKNOWN(${value})`;
  return name.startsWith(prefix(schema)) ? name.slice(prefix(schema).length) : name;
}

/** The names that a caller may choose from, in lower case. */
export function enumChoices(schema: DescEnum): string[] {
  return schema.values.filter(({ number }) => number !== 0).map(({ number }) => choice(schema, number));
}

/** The value of a name as enumChoices gives it, in any case; undefined if there is none. */
export function enumValue(schema: DescEnum, name: string): number | undefined {
  const wanted = name.toLowerCase().replaceAll('-', '_');
  return schema.values.find(({ number }) => number !== 0 && choice(schema, number) === wanted)?.number;
}

function choice(schema: DescEnum, value: number): string {
  return enumName(schema, value).toLowerCase();
}

function prefix(schema: DescEnum): string {
  return schema.sharedPrefix === undefined ? '' : schema.sharedPrefix.toUpperCase();
}
