/** Tasks that wait for their parent's budget. */
export class ParentNeeds {
  readonly #children = new Map<string, Set<string>>();
  readonly #parents = new Map<string, string>();

  add(parentId: string, id: string): void {
    this.#parents.set(id, parentId);
    const children = this.#children.get(parentId);
    if (children === undefined) this.#children.set(parentId, new Set([id]));
    else children.add(id);
  }

  /** The parent that a task waits for; undefined: it does not. */
  parentOf(id: string): string | undefined {
    return this.#parents.get(id);
  }

  remove(id: string): void {
    const parentId = this.#parents.get(id);
    if (parentId === undefined) return;
    this.#parents.delete(id);
    const children = this.#children.get(parentId);
    children?.delete(id);
    if (children?.size === 0) this.#children.delete(parentId);
  }

  /** Those that wait for a parent, which has changed: they are to be looked at again. */
  take(parentId: string): string[] {
    const children = [...(this.#children.get(parentId) ?? [])];
    for (const id of children) this.remove(id);
    return children;
  }
}
