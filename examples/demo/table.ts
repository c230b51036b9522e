import type { Seen } from './fleet-view.ts';

export interface Row {
  id: string;
  shows: string;
  doing: string;
  seen: Seen | undefined;
}

const hints = [
  'orchestrator agents list                       everything at a glance',
  'orchestrator agents list --liveness lost       who is gone, and for how long',
  'orchestrator agents explain stuck-1            why its health is low, with the evidence',
  'orchestrator agents watch                      changes as they come',
  'orchestrator events                            what happened: twins, losses, recoveries',
];

/** The live table as lines; `width` is the terminal's. */
export function render(rows: readonly Row[], width: number, elapsedSeconds: number): string[] {
  const line = (id: string, says: string, rest: string) =>
    cut(`${id.padEnd(14)}${says.padEnd(31)}${rest}`, width);
  return [
    cut(
      `${rows.length} simulated agents, ${Math.round(elapsedSeconds)} s. Ctrl-C ends them with a goodbye.`,
      width,
    ),
    '',
    line('AGENT', 'THE SERVICE SAYS', 'WHAT IT DOES (AND IS THERE TO SHOW)'),
    ...rows.map((row) => line(row.id, said(row.seen), `${row.doing}  (${row.shows})`)),
    '',
    'Look at them from another shell (npx orchestrator … in this folder):',
    ...hints.map((hint) => cut(`  ${hint}`, width)),
  ];
}

/** One agent in words, for logs: changes when something worth a line changed. */
export function said(seen: Seen | undefined): string {
  if (seen === undefined) return '-';
  // What was measured of a session that is over says nothing about now.
  if (seen.liveness !== 'CONNECTED' && seen.liveness !== 'SUSPECT') return seen.liveness;
  const health = seen.health === undefined ? '' : ` ${seen.health.toFixed(2)}`;
  const roundTrip = seen.roundTripMs === undefined ? '' : ` ${seen.roundTripMs.toFixed(1)} ms`;
  return `${seen.liveness.padEnd(13)}${health}${roundTrip}`;
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}
