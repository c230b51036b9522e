import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

export interface Column<T> {
  id: string;
  title: string;
  /** Share of the width, or a fixed one: CSS. */
  width: string;
  /** Right-aligned. */
  number?: boolean;
  /** Left out on narrow windows ("m") or on phones ("s"). */
  hide?: 'm' | 's';
  /** Whether its heading sorts. */
  sortable?: boolean;
  cell(row: T): ComponentChildren;
}

export interface Sorting {
  column: string;
  down: boolean;
}

export interface VirtualTableProps<T> {
  label: string;
  rows: readonly T[];
  columns: readonly Column<T>[];
  keyOf(row: T): string;
  sorting?: Sorting;
  onSort?(sorting: Sorting): void;
  /** Whether somebody points at it: what sorts by moving values then holds still. */
  onHold?(held: boolean): void;
}

const ROW = 37;
/** Rows drawn beyond the edges: as many as fast scrolling and the arrow keys need. */
const BEYOND = 12;

/** A table of which only the rows in sight are in the document, so that 10,000 are as light as 40. */
export function VirtualTable<T>(props: VirtualTableProps<T>) {
  const { label, rows, columns, keyOf, sorting, onSort, onHold } = props;
  const port = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(800);
  useLayoutEffect(() => {
    const element = port.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    // Rows that went leave no empty space behind.
    const element = port.current;
    if (element !== null && element.scrollTop !== top) setTop(element.scrollTop);
  });
  const first = Math.max(0, Math.min(Math.floor(top / ROW), rows.length) - BEYOND);
  const last = Math.min(rows.length, Math.ceil((top + height) / ROW) + BEYOND);
  const classOf = ({ number, hide }: Column<T>) =>
    `${number === true ? 'number' : ''}${hide === undefined ? '' : ` hide-${hide}`}`.trim();
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms, and the part around it is the landmark
    <div
      ref={port}
      class="virtual"
      role="group"
      aria-label={label}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, by keyboard too
      tabIndex={0}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={moveBetweenRows}
      onPointerEnter={() => onHold?.(true)}
      onPointerLeave={() => onHold?.(false)}
    >
      <table class="table" aria-rowcount={rows.length + 1}>
        <colgroup>
          {columns.map((column) => (
            <col
              key={column.id}
              class={`col-${column.id.replace(/\W/g, '-')} ${classOf(column)}`}
              style={{ '--width': column.width }}
            />
          ))}
        </colgroup>
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((column) => (
              <th
                key={column.id}
                scope="col"
                class={classOf(column)}
                aria-sort={
                  sorting?.column === column.id ? (sorting.down ? 'descending' : 'ascending') : undefined
                }
              >
                {column.sortable === true ? (
                  <button
                    type="button"
                    class="quiet sort"
                    onClick={() =>
                      onSort?.({
                        column: column.id,
                        down: sorting?.column === column.id ? !sorting.down : false,
                      })
                    }
                  >
                    {column.title}
                    <span class="sort-mark" aria-hidden="true">
                      {sorting?.column === column.id ? (sorting.down ? '▼' : '▲') : ''}
                    </span>
                  </button>
                ) : (
                  column.title
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 && <Spacer rows={first} />}
          {rows.slice(first, last).map((row, index) => (
            <tr key={keyOf(row)} aria-rowindex={first + index + 2}>
              {columns.map((column, at) =>
                at === 0 ? (
                  <th key={column.id} scope="row" class={classOf(column)}>
                    {column.cell(row)}
                  </th>
                ) : (
                  <td key={column.id} class={classOf(column)}>
                    {column.cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
          {last < rows.length && <Spacer rows={rows.length - last} />}
        </tbody>
      </table>
    </div>
  );
}

function Spacer({ rows }: { rows: number }) {
  return (
    <tr class="spacer">
      <td style={{ height: `${rows * ROW}px` }} />
    </tr>
  );
}

/** Arrow keys go from row to row by the link in the first column. */
function moveBetweenRows(event: KeyboardEvent & { currentTarget: HTMLElement }): void {
  const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
  if (step === 0 || !(event.target instanceof HTMLElement)) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLElement>('tbody th[scope=row] a')];
  const at = links.indexOf(event.target);
  const next = at === -1 ? (step === 1 ? links[0] : undefined) : links[at + step];
  if (next === undefined) return;
  event.preventDefault();
  next.focus();
  next.scrollIntoView({ block: 'nearest' });
}
