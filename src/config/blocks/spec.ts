/** How a field of a block is written and checked. Those of keys mean the same as there. */
export type FieldKind =
  | 'text'
  /** Text that may have several lines. */
  | 'prose'
  | 'number'
  | 'integer'
  | 'duration'
  | 'choice'
  /** true or false. */
  | 'flag'
  /** A list of texts. */
  | 'texts'
  /** Names with a text each. */
  | 'map'
  /** A whole number, or a list of two: from and to. */
  | 'range';

/** A field of the blocks of a list. */
export interface FieldSpec {
  /** As written in YAML. */
  readonly name: string;
  /** As it is called in Config. */
  readonly to: string;
  readonly kind: FieldKind;
  readonly required?: boolean;
  /** As it is in Config; absent: the field is absent there too. */
  readonly default?: unknown;
  /** Inclusive; milliseconds for durations. For text: of its length. For texts and maps: how many. */
  readonly min?: number;
  readonly max?: number;
  /** Allowed though outside the range. */
  readonly zero?: boolean;
  readonly choices?: readonly string[];
  /** What is wrong with a text, or with one text of several; without a word of it where it is secret. */
  readonly check?: (text: string) => string | undefined;
  /** What is wrong with the name of a map's entry. */
  readonly checkName?: (name: string) => string | undefined;
  /** Never echoed. "url": shown without its password and parameters; "path": without its path either. */
  readonly secret?: 'all' | 'url' | 'path';
  /** For the reference, where kind and range do not say it. */
  readonly words?: string;
  readonly doc: string;
}

/** A list of blocks. */
export interface BlockSpec {
  /** What one is called: "rule". */
  readonly noun: string;
  readonly max: number;
  readonly fields: readonly FieldSpec[];
  /** What is wrong between the fields of one, once each fits by itself. */
  readonly check: (block: CheckedBlock) => void;
  /** For the reference: what stands above the table. */
  readonly intro: string;
}

/** A block whose fields were read one by one. */
export interface CheckedBlock {
  /** By their names in Config; without those that were wrong. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Whether a field was written, right or wrong. */
  has(name: string): boolean;
  /** Whether a field was written wrongly: nothing follows from it. */
  wrong(name: string): boolean;
  /** Gives a field that was not written a value, by its name in Config. */
  set(to: string, value: unknown): void;
  /** Notes a mistake in a field, or in the block if it has none of that name. */
  fault(name: string, message: string): void;
}
