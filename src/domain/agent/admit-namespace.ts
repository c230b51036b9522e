import type { AgentDirectory } from './directory.ts';
import { limitReached } from './errors.ts';

/** Whether something may be stored in a namespace that may be a new one. @throws DomainError LIMIT_REACHED */
export function admitNamespace(directory: AgentDirectory, namespace: string, maxNamespaces: number): void {
  if (directory.epoch(namespace) !== undefined || directory.namespaces().length < maxNamespaces) return;
  throw limitReached(`there are ${maxNamespaces} namespaces, the most that limits.max_namespaces allows`);
}
