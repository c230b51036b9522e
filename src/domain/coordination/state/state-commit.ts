import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { StateWrite } from '../../../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import { StateEntrySchema } from '../../../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import { StateRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { msFromDuration, timestampFromMs } from '../../../lib/proto-time.ts';
import type { Check, Entry } from '../../../state/store.ts';
import type { Binding } from '../bindings.ts';
import { decodeState, encodeState, entryOf, hasExpired, STATE_FORMAT, stateKey } from './state-record.ts';

export interface StateCommitInput {
  writes: readonly StateWrite[];
  /** The entries as they are, by key in the store. */
  present: ReadonlyMap<string, Entry>;
  binding: Binding | undefined;
  actor: string;
  storeMs: number;
}

export interface StateCommitEffects {
  checks: Check[];
  puts: { key: string; value: Uint8Array }[];
  deletes: string[];
}

/**
 * Decides a commit of several entries. Pure. An entry whose time has passed counts as one that does not exist, though it
 * may not have been removed yet.
 * @throws DomainError REVISION_MISMATCH
 */
export function decideStateCommit(input: StateCommitInput): StateCommitEffects {
  const { writes, present, storeMs } = input;
  const effects: StateCommitEffects = { checks: [], puts: [], deletes: [] };
  for (const write of writes) {
    const key = stateKey(write.key);
    const stored = present.get(key);
    const gone = stored !== undefined && hasExpired(entryOf(decodeState(stored.value)), storeMs);
    const revision = stored === undefined || gone ? 0n : stored.revision;
    if (write.expectedRevision !== undefined) {
      if (write.expectedRevision !== revision) throw mismatch(write.key, revision);
      effects.checks.push({ key, revision: stored?.revision ?? 0n });
    }
    const { operation } = write;
    if (operation.case === 'remove') effects.deletes.push(key);
    if (operation.case !== 'put') continue;
    const now = timestampFromMs(storeMs);
    const before = stored === undefined || gone ? undefined : entryOf(decodeState(stored.value));
    const entry = create(StateEntrySchema, {
      value: operation.value,
      createTime: before?.createTime ?? now,
      updateTime: now,
      actor: input.actor,
    });
    if (write.expireAfter !== undefined) {
      entry.expireTime = timestampFromMs(storeMs + msFromDuration(write.expireAfter));
    }
    const record = create(StateRecordSchema, { format: STATE_FORMAT, entry });
    if (write.bindToSession && input.binding !== undefined) {
      entry.boundAgentId = input.binding.agentId;
      record.boundInstanceId = input.binding.instanceId;
      record.boundEpoch = input.binding.epoch;
    }
    effects.puts.push({ key, value: encodeState(record) });
  }
  return effects;
}

export const mismatch = (key: string, revision: bigint): DomainError =>
  new DomainError({
    reason: ErrorReason.REVISION_MISMATCH,
    message:
      revision === 0n
        ? `entry ${key} does not exist`
        : `entry ${key} has revision ${revision}, another one than expected`,
    metadata: { key, current_revision: `${revision}` },
  });
