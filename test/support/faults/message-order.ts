import type { Sent } from './message-book.ts';

/**
 * Messages of one ordering key that came to one receiver for the first time in another order than they were stored in.
 * @param movedFrom agents whose messages were given to others: what comes back to them comes later
 */
export function firstOutOfOrder(sent: readonly Sent[], movedFrom: ReadonlySet<string>): string[] {
  const lines = new Map<string, { message: Sent; at: number }[]>();
  for (const message of sent) {
    // Whoever calls does not wait in line any more once the call is over.
    if (message.call !== undefined) continue;
    for (const [receiver, at] of message.arrivals) {
      if (wasMoved(message, receiver, movedFrom)) continue;
      const name = `${receiver} ${message.key}`;
      const line = lines.get(name) ?? [];
      lines.set(name, line);
      line.push({ message, at });
    }
  }
  return [...lines].flatMap(([name, line]) => {
    line.sort((a, b) => a.at - b.at);
    for (const [index, { message: later }] of line.entries()) {
      const before = line.slice(0, index).find(({ message }) => isStoredBefore(later, message));
      if (before !== undefined) return [`${name}: ${before.message.id} came before ${later.id}`];
    }
    return [];
  });
}

/** To be given to another agent when the first one is lost, it takes a new place in a mailbox. */
function wasMoved(
  { request, chosen, group }: Sent,
  receiver: string,
  movedFrom: ReadonlySet<string>,
): boolean {
  if (request.to?.case !== 'capability') return false;
  // The answer to a frame names nobody.
  if (chosen === '') return [...group].some((id) => movedFrom.has(id));
  return chosen !== receiver || movedFrom.has(receiver);
}

/** Whether it is certain that `a` was stored before `b`. */
export function isStoredBefore(a: Sent, b: Sent): boolean {
  if (a.revision !== undefined && b.revision !== undefined) return a.revision < b.revision;
  if (a.acknowledged !== undefined && a.acknowledged < b.firstTry) return true;
  // On one session they are stored in the order of sending; a repetition has another place.
  const onFirstTry = (sent: Sent): boolean => sent.acknowledged !== undefined && sent.tries === 1;
  return a.line !== '' && a.line === b.line && onFirstTry(a) && onFirstTry(b) && a.place < b.place;
}
