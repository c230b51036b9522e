import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ChangeBatch, Commit, CommitOutcome, Store } from '../../src/state/store.ts';
import { type ModelledStore, ModelStore } from './model.ts';
import { allChanges, RecordingFollower, type StoreContract, text } from './support.ts';

const namespace = fc.constantFrom('n', 'm', 'nm');
// Few keys, so that operations meet; some that are hard to keep apart or to sort.
const key = fc.constantFrom('a', 'b', 'a/1', 'a/2', 'a/10', 'a0', 'ä', '～', '🤖', 'a\0', ':', '*');
const series = fc.constantFrom('s', 'ss', 's\0');
const value = fc.uint8Array({ maxLength: 12 });
const revision = fc.bigInt({ min: 0n, max: 12n });

const commit = fc.record({
  kind: fc.constant('commit' as const),
  namespace,
  // Most checks ask for what is there, else nearly every commit would be refused.
  checks: fc.array(
    fc.record({
      key,
      expect: fc.oneof({ weight: 4, arbitrary: fc.constant('present') }, { weight: 1, arbitrary: revision }),
    }),
    { maxLength: 2 },
  ),
  puts: fc.array(fc.record({ key, value }), { maxLength: 4 }),
  deletes: fc.array(key, { maxLength: 2 }),
  appends: fc.array(fc.record({ series, value }), { maxLength: 3 }),
  request: fc.option(
    fc.record({ id: fc.constantFrom('r1', 'r2', 'r3', 'r4'), fingerprint: value, response: value }),
    {
      freq: 3,
      nil: undefined,
    },
  ),
});

const operation = fc.oneof(
  { weight: 6, arbitrary: commit },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('get' as const), namespace, key }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('scan' as const),
      namespace,
      prefix: fc.constantFrom('', 'a', 'a/', '*'),
      after: fc.option(key, { nil: undefined }),
      limit: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('changes' as const),
      namespace,
      revision,
      limit: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('series' as const),
      namespace,
      series,
      after: fc.option(fc.record({ revision, index: fc.nat(3) }), { nil: undefined }),
      limit: fc.integer({ min: 1, max: 5 }),
      reverse: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('trim' as const),
      namespace,
      series,
      limit: fc.integer({ min: 1, max: 3 }),
    }),
  },
);

type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;
type CommitOperation = typeof commit extends fc.Arbitrary<infer T> ? T : never;

/** Later than any entry, for trimming whatever is there. */
const FAR_FUTURE_MS = 8_000_000_000_000;

async function toCommit(store: ModelledStore, made: CommitOperation): Promise<Commit> {
  const checks = [];
  for (const { key, expect } of made.checks) {
    const present =
      typeof expect === 'bigint' ? expect : ((await store.get(made.namespace, key))?.revision ?? 0n);
    checks.push({ key, revision: present });
  }
  const { namespace, puts, deletes, appends } = made;
  const common = { namespace, checks, puts, deletes, appends };
  return made.request ? { ...common, request: { ...made.request, ttlMs: 3_600_000 } } : common;
}

async function run(store: ModelledStore, made: Operation): Promise<unknown> {
  switch (made.kind) {
    case 'commit':
      return store.commit(await toCommit(store, made));
    case 'get':
      return store.get(made.namespace, made.key);
    case 'scan':
      return store.scan(made.namespace, {
        prefix: made.prefix,
        limit: made.limit,
        ...(made.after === undefined ? {} : { after: made.after }),
      });
    case 'changes': {
      const { epoch } = await store.position(made.namespace);
      return store.changes(made.namespace, { epoch, revision: made.revision }, made.limit);
    }
    case 'series':
      return store.readSeries(made.namespace, made.series, {
        limit: made.limit,
        reverse: made.reverse,
        ...(made.after === undefined ? {} : { after: made.after }),
      });
    case 'trim':
      return store.trimSeries(made.namespace, made.series, FAR_FUTURE_MS, made.limit);
  }
}

/** Everything that can be read, without the epoch and times, which differ between stores. */
async function content(store: ModelledStore): Promise<unknown> {
  const all = [];
  for (const namespace of (await store.namespaces()).sort()) {
    const position = await store.position(namespace);
    const lists = [];
    for (const name of ['s', 'ss', 's\0'])
      lists.push(await store.readSeries(namespace, name, { limit: 1_000 }));
    all.push({
      namespace,
      position,
      entries: await store.scan(namespace, { prefix: '', limit: 1_000 }),
      log: await store.changes(namespace, { epoch: position.epoch, revision: 0n }, 1_000),
      lists,
    });
  }
  return comparable(all);
}

/** Replaces epochs and times, and gives bytes one form. */
function comparable(result: unknown): unknown {
  if (result instanceof Uint8Array) return Buffer.from(result).toString('hex');
  if (Array.isArray(result)) return result.map(comparable);
  if (typeof result !== 'object' || result === null) return result;
  return Object.fromEntries(
    Object.entries(result).map(([name, part]) => [
      name,
      name === 'epoch' || name === 'timeMs' ? '(any)' : comparable(part),
    ]),
  );
}

interface Subject {
  store: ModelledStore;
  dispose: () => Promise<void>;
}

async function expectAlike(openBoth: () => Promise<[Subject, Subject]>, runs: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 40 }), async (operations) => {
      const [left, right] = await openBoth();
      try {
        for (const made of operations) {
          expect(comparable(await run(left.store, made))).toEqual(comparable(await run(right.store, made)));
        }
        expect(await content(left.store)).toEqual(await content(right.store));
      } finally {
        await left.dispose();
        await right.dispose();
      }
    }),
    { numRuns: runs },
  );
}

/** The store's log, replayed from the start, gives the store's entries. */
async function expectLogExplainsEntries(store: Store, namespace: string): Promise<void> {
  const { entries, position } = await store.scan(namespace, { prefix: '', limit: 10_000 });
  const batches: ChangeBatch[] = await allChanges(store, namespace, { epoch: position.epoch, revision: 0n });
  const replayed = new Map<string, string | undefined>();
  for (const { changes } of batches) {
    for (const change of changes) {
      if (change.value) replayed.set(change.key, text(change.value));
      else replayed.delete(change.key);
    }
  }
  expect(batches.map(({ revision }) => revision)).toEqual(batches.map((_, index) => BigInt(index + 1)));
  expect(batches.at(-1)?.revision ?? 0n).toBe(position.revision);
  expect(Object.fromEntries(replayed)).toEqual(
    Object.fromEntries(entries.map((entry) => [entry.key, text(entry.value)])),
  );
}

/** Random operations give the same answers and leave the same state as a simple model in memory. */
export function describeStoreProperties(contract: StoreContract, runs = 60): void {
  describe(`random operations on ${contract.name}`, () => {
    it('answer and leave behind what the model does', async () => {
      await expectAlike(async () => {
        const model = { store: new ModelStore(), dispose: async () => {} };
        return [await contract.open({}), model];
      }, runs);
    });

    it('leave a log that explains the entries when they run in parallel, and followers agree', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(commit, { minLength: 1, maxLength: 60 }), async (commits) => {
          const { store, dispose } = await contract.open({});
          try {
            const follower = new RecordingFollower();
            const stop = await store.follow(follower);
            const outcomes: CommitOutcome[] = await Promise.all(
              commits.map(async (made) => store.commit(await toCommit(store, made))),
            );
            for (const namespace of await store.namespaces()) {
              const mine = outcomes.filter(
                (outcome, index) => outcome.kind === 'committed' && commits[index]?.namespace === namespace,
              );
              const { revision } = await store.position(namespace);
              expect(mine).toHaveLength(Number(revision));
              await expectLogExplainsEntries(store, namespace);
              await follower.until(() => follower.revisions.get(namespace) === revision);
            }
            expect(follower.faults).toEqual([]);
            stop();
          } finally {
            await dispose();
          }
        }),
        { numRuns: Math.ceil(runs / 4) },
      );
    });
  });
}

/** The same random operations give the same answers on two adapters and leave the same states and logs. */
export function describeStoreEquivalence(a: StoreContract, b: StoreContract, runs = 60): void {
  describe(`${a.name} and ${b.name}`, () => {
    it('answer the same operations alike and leave the same states and logs', async () => {
      await expectAlike(() => Promise.all([a.open({}), b.open({})]), runs);
    });
  });
}
