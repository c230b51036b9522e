export const VIEWS = ['agents', 'alerts', 'events', 'service'] as const;
export type View = (typeof VIEWS)[number];

export const SORTS = ['health', 'load', 'latency', 'deliveries', 'tasks', 'name'] as const;
export type Sort = (typeof SORTS)[number];

/** What the user looks at. */
export interface Look {
  view: View;
  sort: Sort;
  reversed: boolean;
  /** Rows above the first that is shown. */
  offset: number;
  /** Only agents, alerts and events that hold this text. */
  filter: string;
  /** The filter is being typed. */
  typing: boolean;
  paused: boolean;
  help: boolean;
}

export const FIRST_LOOK: Look = {
  view: 'agents',
  sort: 'health',
  reversed: false,
  offset: 0,
  filter: '',
  typing: false,
  paused: false,
  help: false,
};

export type Deed =
  | { kind: 'look'; look: Look }
  | { kind: 'quit' }
  | { kind: 'suspend' }
  | { kind: 'redraw' }
  | { kind: 'none' };

const CTRL_C = '\x03';
const CTRL_L = '\x0c';
const CTRL_Z = '\x1a';
const ESCAPE = '\x1b';
const FILTER_LENGTH = 64;

/** What was typed, as keys: a terminal sends several at once, and some as sequences. */
export function keysOf(text: string): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what this is about
  return text.match(/\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|[\s\S]/gu) ?? [];
}

/** What a key does. Pure. @param page rows that are shown at a time */
export function press(key: string, look: Look, page: number): Deed {
  if (key === CTRL_C) return { kind: 'quit' };
  if (key === CTRL_Z) return { kind: 'suspend' };
  if (look.typing) return typed(key, look);
  const change = (changes: Partial<Look>): Deed => ({ kind: 'look', look: { ...look, ...changes } });
  const scroll = (rows: number): Deed => change({ offset: Math.max(0, look.offset + rows) });
  if (look.help && key !== 'q') return change({ help: false });
  switch (key) {
    case 'q':
      return { kind: 'quit' };
    case '\t':
      return change({ view: after(VIEWS, look.view, 1), offset: 0 });
    case `${ESCAPE}[Z`:
      return change({ view: after(VIEWS, look.view, -1), offset: 0 });
    case '1':
    case '2':
    case '3':
    case '4':
      return change({ view: VIEWS[Number(key) - 1] ?? 'agents', offset: 0 });
    case 's':
      return change({ sort: after(SORTS, look.sort, 1), offset: 0 });
    case 'S':
      return change({ sort: after(SORTS, look.sort, -1), offset: 0 });
    case 'r':
      return change({ reversed: !look.reversed, offset: 0 });
    case 'p':
    case ' ':
      return change({ paused: !look.paused });
    case '/':
      return change({ typing: true, view: look.view === 'service' ? 'agents' : look.view });
    case ESCAPE:
      return change({ filter: '', offset: 0 });
    case '?':
    case 'h':
      return change({ help: true });
    case 'j':
    case `${ESCAPE}[B`:
    case `${ESCAPE}OB`:
      return scroll(1);
    case 'k':
    case `${ESCAPE}[A`:
    case `${ESCAPE}OA`:
      return scroll(-1);
    case `${ESCAPE}[6~`:
      return scroll(page);
    case `${ESCAPE}[5~`:
      return scroll(-page);
    case 'g':
    case `${ESCAPE}[H`:
      return change({ offset: 0 });
    case 'G':
    case `${ESCAPE}[F`:
      return change({ offset: Number.MAX_SAFE_INTEGER });
    case CTRL_L:
      return { kind: 'redraw' };
    default:
      return { kind: 'none' };
  }
}

function typed(key: string, look: Look): Deed {
  const change = (changes: Partial<Look>): Deed => ({
    kind: 'look',
    look: { ...look, offset: 0, ...changes },
  });
  if (key === '\r' || key === '\n') return change({ typing: false });
  if (key === ESCAPE) return change({ typing: false, filter: '' });
  if (key === '\x7f' || key === '\b') return change({ filter: look.filter.slice(0, -1) });
  if (key < ' ' || key.startsWith(ESCAPE) || look.filter.length >= FILTER_LENGTH) return { kind: 'none' };
  return change({ filter: look.filter + key });
}

function after<T>(all: readonly T[], one: T, by: number): T {
  const at = (all.indexOf(one) + by + all.length) % all.length;
  return all[at] ?? one;
}
