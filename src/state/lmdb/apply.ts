import { changesOf, toldOf } from '../limits.ts';
import type { ChangeBatch, Commit, CommitOutcome } from '../store.ts';
import type { Tree } from './environment.ts';
import { entryKey, expiryKey, logKey, namespaceKey, requestKey, seriesKey } from './keys.ts';
import type { NamespaceState, Namespaces } from './namespaces.ts';
import {
  type RecordWriter,
  readRequest,
  revisionOfEntry,
  writeBatch,
  writeEntry,
  writeRequest,
  writeSeriesEntry,
} from './records.ts';

export interface Applied {
  outcome: CommitOutcome;
  /** What followers are told; absent if nothing changed. */
  batch?: ChangeBatch;
}

export interface ApplyContext {
  tree: Tree;
  namespaces: Namespaces;
  writer: RecordWriter;
  epoch: bigint;
  nowMs: number;
}

/** Applies one commit within the write transaction under way. Every check comes before the first put. */
export function applyCommit(context: ApplyContext, commit: Commit): Applied {
  const { tree, namespaces, epoch } = context;
  const existing = namespaces.working(commit.namespace);
  const refusal = existing ? refuse(context, existing, commit) : refuseInNew(commit);
  if (refusal) return { outcome: refusal };

  const before = existing ?? create(context, commit.namespace);
  const revision = before.head + 1n;
  const changes = changesOf(commit);
  const told = toldOf(changes);
  const appends = commit.appends ?? [];
  for (const { key, value } of changes) {
    const place = entryKey(before.id, key);
    if (value) tree.putSync(place, writeEntry(context.writer, revision, value));
    else tree.removeSync(place);
  }
  for (const [index, { series, value }] of appends.entries()) {
    tree.putSync(
      seriesKey(before.id, series, revision, index),
      writeSeriesEntry(context.writer, context.nowMs, value),
    );
  }
  if (commit.request) remember(context, before.id, revision, commit.request);
  const timeMs = context.nowMs;
  const { record, totalBytes } = writeBatch(
    context.writer,
    { timeMs, changes: told, appends },
    before.headBytes,
  );
  tree.putSync(logKey(before.id, revision), record);
  const first = existing === undefined ? { oldest: revision, oldestTimeMs: timeMs } : {};
  namespaces.set(commit.namespace, { ...before, ...first, head: revision, headBytes: totalBytes });
  return {
    outcome: { kind: 'committed', epoch, revision },
    batch: {
      namespace: commit.namespace,
      epoch,
      revision,
      timeMs,
      changes: told,
      appends: appends.map(({ series, value }, index) => ({ series, value, index })),
    },
  };
}

/** The answer of a commit that changes nothing: it was made before, or a check failed. */
function refuse(
  { tree, nowMs }: ApplyContext,
  state: NamespaceState,
  commit: Commit,
): CommitOutcome | undefined {
  if (commit.request) {
    const bytes = tree.get(requestKey(state.id, commit.request.id));
    const stored = bytes && readRequest(bytes);
    if (stored && stored.expiresMs > nowMs) {
      const { revision, fingerprint, response } = stored;
      return { kind: 'repeated', revision, fingerprint, response };
    }
  }
  for (const { key, revision } of commit.checks ?? []) {
    const bytes = tree.getBinaryFast(entryKey(state.id, key)) as Buffer | undefined;
    const present = bytes ? revisionOfEntry(bytes) : 0n;
    if (present !== revision) return { kind: 'conflict', key, revision: present };
  }
  return undefined;
}

function refuseInNew(commit: Commit): CommitOutcome | undefined {
  const failed = commit.checks?.find(({ revision }) => revision !== 0n);
  return failed && { kind: 'conflict', key: failed.key, revision: 0n };
}

function create({ tree, namespaces }: ApplyContext, namespace: string): NamespaceState {
  const id = namespaces.newId();
  const record = Buffer.alloc(4);
  record.writeUInt32BE(id);
  tree.putSync(namespaceKey(namespace), record);
  return { id, head: 0n, headBytes: 0, oldest: 0n, oldestTimeMs: 0, bytesBefore: 0 };
}

function remember(
  { tree, writer, nowMs }: ApplyContext,
  id: number,
  revision: bigint,
  request: NonNullable<Commit['request']>,
): void {
  const place = requestKey(id, request.id);
  const former = tree.get(place);
  if (former) tree.removeSync(expiryKey(readRequest(former).expiresMs, id, request.id));
  const expiresMs = nowMs + request.ttlMs;
  const { fingerprint, response } = request;
  tree.putSync(place, writeRequest(writer, { expiresMs, revision, fingerprint, response }));
  tree.putSync(expiryKey(expiresMs, id, request.id), Buffer.alloc(0));
}

/** About how much a commit writes. */
export function sizeOf(commit: Commit): number {
  let bytes = (commit.request?.response.length ?? 0) + 64;
  for (const { value } of commit.puts ?? []) bytes += value.length;
  for (const { value } of commit.appends ?? []) bytes += value.length;
  return bytes;
}
