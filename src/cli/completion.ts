import type { Command, Option } from 'commander';

export interface Candidate {
  value: string;
  about: string;
}

export type IdSource = (kind: IdKind) => Promise<readonly string[]>;
/** Also the names of the arguments that are such an id. */
export type IdKind = (typeof kinds)[number];
const kinds = ['agent', 'task', 'alert', 'silence', 'metric'] as const;

const idOptions: ReadonlyMap<string, IdKind> = new Map([
  ...['agent', 'notAgent', 'toAgent', 'drained', 'dependsOn', 'supervisedBy'].map(
    (name) => [name, 'agent'] as const,
  ),
  ...['task', 'parent'].map((name) => [name, 'task'] as const),
  ...['under'].map((name) => [name, 'alert'] as const),
]);

/**
 * What the last of `words` (all after the program's name) may become. Nothing known means an empty list: the shell
 * then offers files. `=` stands as a word of its own where the shell splits there (bash).
 */
export async function completeWords(
  program: Command,
  words: readonly string[],
  ids: IdSource,
): Promise<Candidate[]> {
  const current = words.at(-1) === '=' ? '' : (words.at(-1) ?? '');
  const before = words.slice(0, -1).filter((word) => word !== '=');
  if (words.at(-1) === '=' && before.length === 0) return [];
  const { command, awaiting, operands } = walk(program, before);
  const assigned = /^(--[\w-]+)=(.*)$/.exec(current);
  if (assigned !== null) {
    const option = findOption(command, assigned[1] ?? '');
    const values = await optionValues(option, ids);
    return matching(values, assigned[2] ?? '').map(({ value, about }) => ({
      value: `${assigned[1]}=${value}`,
      about,
    }));
  }
  if (awaiting !== undefined) return matching(await optionValues(awaiting, ids), current);
  if (current.startsWith('-')) return matching(optionNames(command), current);
  const subcommands = subcommandNames(command);
  if (subcommands.length > 0) return operands === 0 ? matching(subcommands, current) : [];
  const last = command.registeredArguments.at(-1);
  const argument = command.registeredArguments[operands] ?? (last?.variadic === true ? last : undefined);
  const kind = kinds.find((each) => each === argument?.name());
  if (kind !== undefined && command.name() !== 'register')
    return matching(await idValues(ids, kind), current);
  return matching(argument === undefined ? [] : listed(argument.description), current);
}

/** Where the words lead: the innermost command, an option that still wants its value, and operands so far. */
function walk(
  program: Command,
  words: readonly string[],
): { command: Command; awaiting: Option | undefined; operands: number } {
  let command = program;
  let awaiting: Option | undefined;
  let operands = 0;
  for (const word of words) {
    if (awaiting !== undefined) {
      awaiting = undefined;
    } else if (word.startsWith('-') && word !== '-') {
      const option = word.includes('=') ? undefined : findOption(command, word);
      awaiting = option?.required === true ? option : undefined;
    } else {
      const next = command.commands.find(
        (candidate) => candidate.name() === word || candidate.aliases().includes(word),
      );
      if (next === undefined) operands++;
      else command = next;
    }
  }
  return { command, awaiting, operands };
}

/** The command and those around it: options of the outer ones are valid in the inner. */
function chain(command: Command): Command[] {
  return command.parent === null ? [command] : [command, ...chain(command.parent)];
}

function findOption(command: Command, flag: string): Option | undefined {
  return chain(command)
    .flatMap(({ options }) => options)
    .find((option) => option.long === flag || option.short === flag);
}

function optionNames(command: Command): Candidate[] {
  return chain(command)
    .flatMap((each) => each.createHelp().visibleOptions(each))
    .map(({ long, description }) => ({ value: long ?? '', about: description }))
    .filter(({ value }, at, all) => value !== '' && all.findIndex((other) => other.value === value) === at);
}

function subcommandNames(command: Command): Candidate[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .map((each) => ({ value: each.name(), about: each.description() }));
}

async function optionValues(option: Option | undefined, ids: IdSource): Promise<Candidate[]> {
  if (option === undefined) return [];
  if (option.argChoices !== undefined) return option.argChoices.map((value) => ({ value, about: '' }));
  const kind = idOptions.get(option.attributeName());
  return kind === undefined ? [] : idValues(ids, kind);
}

async function idValues(ids: IdSource, kind: IdKind): Promise<Candidate[]> {
  return (await ids(kind)).map((value) => ({ value, about: kind }));
}

/** Values that a description lists and nothing else: "bash, zsh, fish". */
function listed(description: string): Candidate[] {
  return /^[a-z]+(, [a-z]+)+$/.test(description)
    ? description.split(', ').map((value) => ({ value, about: '' }))
    : [];
}

function matching(candidates: readonly Candidate[], start: string): Candidate[] {
  return candidates.filter(({ value }) => value.startsWith(start));
}
