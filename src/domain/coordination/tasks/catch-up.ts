import type { SchedulerPorts } from './scheduler-ports.ts';

/** How long the view may take to show what was committed, before the store is asked again. */
const VIEW_MS = 2000;
/** Pause after the store was away. */
const PAUSE_MS = 200;

/**
 * Resolves once the view shows all that was stored when it was called, however long that takes: whether a commit whose answer was
 * lost was stored is known then. False: closed before that.
 */
export async function catchUp(
  { store, views, namespace }: Pick<SchedulerPorts, 'store' | 'views'> & { namespace: string },
  isClosed: () => boolean,
): Promise<boolean> {
  while (!isClosed()) {
    try {
      const { revision } = await store.position(namespace);
      await views.waitFor(namespace, revision, VIEW_MS);
      return true;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
  return false;
}
