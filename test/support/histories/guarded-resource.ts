/** A write that the resource took. */
interface Accepted {
  token: bigint;
  holder: string;
}

/** What a lock protects: it refuses fencing tokens below the highest that it has seen, and remembers what it took. */
export class GuardedResource {
  readonly accepted: Accepted[] = [];
  refused = 0;
  #highest = 0n;

  /** Whether the write was taken. */
  write(token: bigint, holder: string): boolean {
    if (token < this.#highest) {
      this.refused += 1;
      return false;
    }
    this.#highest = token;
    this.accepted.push({ token, holder });
    return true;
  }

  /** Two holders that wrote with the same token, or one that wrote again after its successor; in words. */
  faults(): string[] {
    const wrong: string[] = [];
    const owners = new Map<bigint, string>();
    let last = 0n;
    for (const { token, holder } of this.accepted) {
      const owner = owners.get(token) ?? holder;
      owners.set(token, owner);
      if (owner !== holder) wrong.push(`${owner} and ${holder} both wrote with token ${token}`);
      if (token < last) wrong.push(`${holder} wrote with ${token} after ${last}`);
      last = token;
    }
    return wrong;
  }
}
