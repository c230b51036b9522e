import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  StateService,
  type StateWriteSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import type { Random } from '../faults/random.ts';
import { pause } from '../until.ts';
import type { Calls } from './calls.ts';
import type { RegisterAct, RegisterOp } from './registers.ts';

/** Operations on entries, by key, and what the counter among them must have. */
export class StateBook {
  readonly #ops = new Map<string, RegisterOp[]>();
  /** The write behind a revision of a key, as far as anybody was told. */
  readonly #writes = new Map<string, string>();
  readonly faults: string[] = [];
  readonly counted = { sure: 0, open: 0 };

  get keys(): string[] {
    return [...this.#ops.keys()];
  }

  of(key: string): readonly RegisterOp[] {
    return this.#ops.get(key) ?? [];
  }

  add(key: string, op: RegisterOp): void {
    const ops = this.#ops.get(key) ?? [];
    this.#ops.set(key, ops);
    ops.push(op);
  }

  /** @returns what is known of the write with that revision */
  write(key: string, revision: bigint): string | undefined {
    return this.#writes.get(`${key} ${revision}`);
  }

  told(key: string, revision: bigint, id: string): void {
    const known = this.write(key, revision);
    if (known !== undefined && known !== id) {
      this.faults.push(`revision ${revision} of ${key} is ${known} and also ${id}`);
    }
    this.#writes.set(`${key} ${revision}`, id);
  }
}

export interface StateClientOptions {
  name: string;
  calls: Calls;
  random: Random;
  /** Keys with anything done to them. */
  keys: readonly string[];
  /** A key that is only counted up. */
  counter: string;
  book: StateBook;
}

interface Seen {
  id: string;
  revision: bigint;
}

/** Reads, writes, swaps and removes entries, one call after the other, and notes what it was told. */
export class StateClient {
  readonly #options: StateClientOptions;
  #count = 0;

  constructor(options: StateClientOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { random } = this.#options;
    while (!signal.aborted) {
      await this.#turn();
      await pause(random.between(2, 25));
    }
  }

  /** What the entry holds; undefined: nobody could say. */
  async read(key: string): Promise<Seen | undefined> {
    const { calls, book, name } = this.#options;
    const outcome = await calls.make(StateService.method.getState, { key }, { repeat: false });
    if (outcome.kind === 'unknown') return undefined;
    if (outcome.kind === 'refused' && outcome.reason !== 'STATE_NOT_FOUND') return undefined;
    const entry = outcome.kind === 'answered' ? outcome.response.entry : undefined;
    const seen: Seen = {
      id: entry?.value?.data.case === 'text' ? entry.value.data.value : '',
      revision: entry?.revision ?? 0n,
    };
    if (entry !== undefined) book.told(key, seen.revision, seen.id);
    const { call, ret } = outcome;
    book.add(key, { client: name, call, ret, act: { kind: 'read', saw: seen.id } });
    return seen;
  }

  async #turn(): Promise<void> {
    const { random, keys, counter } = this.#options;
    const draw = random.next();
    const key = random.pick(keys);
    if (draw < 0.25) await this.read(key);
    else if (draw < 0.45) await this.#write(key, undefined);
    else if (draw < 0.5) await this.#remove(key);
    else if (draw < 0.75) {
      const seen = await this.read(key);
      if (seen !== undefined) await this.#write(key, seen);
    } else {
      const seen = await this.read(counter);
      if (seen !== undefined) await this.#write(counter, seen, Number(seen.id.split(' ')[0]) + 1);
    }
  }

  /** @param expected what must be there; undefined: whatever */
  async #write(key: string, expected: Seen | undefined, counted = 0): Promise<void> {
    const { name, book } = this.#options;
    this.#count += 1;
    const id = `${counted} ${name}.${this.#count}`;
    const answered: RegisterAct =
      expected === undefined ? { kind: 'put', id } : { kind: 'swap', expected: expected.id, id };
    const operation = { case: 'put', value: { data: { case: 'text', value: id } } } as const;
    const write = { key, operation, ...(expected && { expectedRevision: expected.revision }) };
    const { revision, open } = await this.#commit(write, answered, expected);
    if (revision !== undefined) book.told(key, revision, id);
    if (counted === 0) return;
    if (revision !== undefined) book.counted.sure += 1;
    else if (open) book.counted.open += 1;
  }

  async #remove(key: string): Promise<void> {
    await this.#commit({ key, operation: { case: 'remove', value: true } }, { kind: 'remove' }, undefined);
  }

  async #commit(
    write: MessageInitShape<typeof StateWriteSchema> & { key: string },
    act: RegisterAct,
    expected: Seen | undefined,
  ): Promise<{ revision?: bigint; open: boolean }> {
    const { random, calls, name, book } = this.#options;
    const repeat = random.chance(0.5);
    this.#count += 1;
    const requestId = repeat ? `${name}-${this.#count}` : '';
    const outcome = await calls.make(
      StateService.method.commitState,
      { writes: [write], requestId },
      { repeat },
    );
    const { call } = outcome;
    if (outcome.kind === 'answered') {
      book.add(write.key, { client: name, call, ret: outcome.ret, act });
      return { revision: outcome.response.revision, open: false };
    }
    if (outcome.kind === 'unknown') {
      book.add(write.key, { client: name, call, ret: Number.POSITIVE_INFINITY, act });
      return { open: true };
    }
    if (outcome.reason !== 'REVISION_MISMATCH') return { open: false };
    // An entry that did not exist may be gone again when an earlier try of this one is decided.
    if (outcome.repeats > 0 && expected?.id === '') {
      book.add(write.key, { client: name, call, ret: Number.POSITIVE_INFINITY, act });
      return { open: true };
    }
    const revision = /has revision (\d+)/.exec(outcome.message)?.[1];
    const saw = revision === undefined ? '' : book.write(write.key, BigInt(revision));
    book.add(write.key, {
      client: name,
      call,
      ret: outcome.ret,
      act: { kind: 'mismatch', expected: expected?.id ?? '', saw },
    });
    return { open: false };
  }
}
