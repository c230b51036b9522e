import { SYSTEM_NAMESPACE } from '../namespaces.ts';
import type { AgentDirectory } from './directory.ts';
import { limitReached } from './errors.ts';

/** Whether something may be stored in a namespace that may be a new one. @throws DomainError LIMIT_REACHED */
export function admitNamespace(directory: AgentDirectory, namespace: string, maxNamespaces: number): void {
  if (directory.epoch(namespace) !== undefined) return;
  // The service's own is none of its users'.
  const own = directory.epoch(SYSTEM_NAMESPACE) === undefined ? 0 : 1;
  if (directory.namespaces().length - own < maxNamespaces) return;
  throw limitReached(`there are ${maxNamespaces} namespaces, the most that limits.max_namespaces allows`);
}
