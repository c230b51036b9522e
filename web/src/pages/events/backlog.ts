import type { Event } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';

/** So many of the live list are drawn; those before them are asked for. */
export const DRAWN = 400;
/** What has moved on from the live list is kept so far. */
const MOST = 5_000;

/** Events before those of the live list that are drawn. */
export interface Backlog {
  /** Those before this one were asked for; undefined: the live list was empty, all were. */
  from: Event | undefined;
  /** Of the next page; undefined: none was asked for yet. Empty: there is none. */
  token: string | undefined;
  /** Newest first; joins on to what is drawn of the live list. */
  found: readonly Event[];
}

/** A page of those before. */
export function withPage(backlog: Backlog, page: readonly Event[], token: string): Backlog {
  const known = new Set(backlog.found.map(({ id }) => id));
  const fresh = page.filter((event) => !known.has(event.id) && isBefore(event, backlog.from));
  return { ...backlog, token, found: [...backlog.found, ...fresh] };
}

/**
 * What the live list draws no more goes to the backlog, so that there is no gap between them. Undefined if too much came at
 * once to know what was in between: the backlog joins on to nothing then.
 *
 * @param drawnBefore what was drawn of the live list
 * @param live the live list now
 */
export function carriedOver(
  backlog: Backlog,
  drawnBefore: readonly Event[],
  live: readonly Event[],
): Backlog | undefined {
  const alive = new Set(live.map(({ id }) => id));
  if (drawnBefore.length > 0 && !drawnBefore.some(({ id }) => alive.has(id))) return undefined;
  const { found } = backlog;
  const from = backlog.from ?? live.at(-1);
  if (backlog.from === undefined && from !== undefined)
    return { ...backlog, from, found: found.filter((event) => isBefore(event, from)) };
  const known = new Set(found.map(({ id }) => id));
  const moved: Event[] = [];
  for (const event of live.slice(DRAWN)) {
    if (known.has(event.id) || isBefore(event, from)) break;
    moved.push(event);
  }
  moved.push(...drawnBefore.filter(({ id }) => !alive.has(id) && !known.has(id)));
  if (moved.length === 0) return backlog;
  const all = [...moved, ...found];
  const kept = all.slice(0, MOST);
  const last = kept.at(-1);
  if (kept.length === all.length || last === undefined) return { ...backlog, found: all };
  return { from: last, token: undefined, found: kept };
}

function isBefore(event: Event, other: Event | undefined): boolean {
  if (other === undefined) return true;
  if (event.revision !== other.revision) return event.revision < other.revision;
  return Number(event.id.split('-')[1]) < Number(other.id.split('-')[1]);
}
