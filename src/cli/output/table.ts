import { escapeText } from './escape.ts';
import { cut, displayWidth, type Line, pad, renderLine, type Span, type Style } from './text.ts';

export interface Column {
  title: string;
  align?: 'left' | 'right';
  /** May be cut down to this many columns where the terminal is narrow; absent: never cut. */
  shrinkTo?: number;
  /** May be left out where shrinking is not enough; the highest goes first. Absent: always shown. */
  dropOrder?: number;
}

const gap = 2;

/** Lines of a table: a dim head, then one line a row, fitted to the terminal. A missing cell is empty. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly Span[])[],
  style: Style,
): string[] {
  const texts = rows.map((row) => columns.map((_, at) => escapeText(row[at]?.text ?? '')));
  const natural = columns.map((column, at) =>
    texts.reduce((most, row) => Math.max(most, displayWidth(row[at] ?? '')), displayWidth(column.title)),
  );
  const widths = fitWidths(columns, natural, style.columns);
  const shown = columns.flatMap((column, at) => {
    const width = widths[at];
    return width === undefined ? [] : [{ column, at, width }];
  });
  const line = (cells: (at: number) => Span): Line =>
    shown.map(({ column, at, width }, index) => {
      const cell = cells(at);
      const text = pad(cut(cell.text, width), width, column.align ?? 'left');
      return { ...cell, text: index === 0 ? text : ' '.repeat(gap) + text };
    });
  const head = line((at) => ({ text: columns[at]?.title ?? '', tone: 'dim' }));
  return [
    renderLine(head, style),
    ...rows.map((row, index) =>
      renderLine(
        line((at) => ({ ...row[at], text: texts[index]?.[at] ?? '' })),
        style,
      ),
    ),
  ];
}

/** Widths that fit into `room`: first the widest shrinks, then droppable columns go. undefined: left out. */
function fitWidths(
  columns: readonly Column[],
  natural: readonly number[],
  room: number | undefined,
): (number | undefined)[] {
  const widths: (number | undefined)[] = [...natural];
  if (room === undefined) return widths;
  for (;;) {
    const shown = widths.flatMap((width, at) => (width === undefined ? [] : [{ width, at }]));
    const total = shown.reduce((sum, { width }) => sum + width, 0) + gap * Math.max(0, shown.length - 1);
    if (total <= room) return widths;
    const widest = shown
      .filter(({ width, at }) => width > (columns[at]?.shrinkTo ?? Number.POSITIVE_INFINITY))
      .sort((one, other) => other.width - one.width)[0];
    if (widest !== undefined) {
      widths[widest.at] = widest.width - 1;
      continue;
    }
    const dropped = shown
      .filter(({ at }) => columns[at]?.dropOrder !== undefined)
      .sort((one, other) => (columns[other.at]?.dropOrder ?? 0) - (columns[one.at]?.dropOrder ?? 0))[0];
    if (dropped === undefined) return widths;
    widths[dropped.at] = undefined;
    columns.forEach((_, at) => {
      if (widths[at] !== undefined) widths[at] = natural[at];
    });
  }
}

/** "name  value" lines with the names in one column. */
export function renderFields(fields: readonly (readonly [string, Line])[], style: Style): string[] {
  const width = fields.reduce((most, [name]) => Math.max(most, displayWidth(name)), 0);
  return fields.map(([name, value]) =>
    renderLine([{ text: pad(name, width + gap, 'left'), tone: 'dim' }, ...value], style),
  );
}
