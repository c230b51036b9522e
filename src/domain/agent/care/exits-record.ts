import { create, equals, fromBinary } from '@bufbuild/protobuf';
import { DurationSchema } from '@bufbuild/protobuf/wkt';
import {
  type ProcessExit,
  ProcessExitSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type ExitsRecord,
  ExitsRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import { QUIET_PREFIX } from '../../../state/store.ts';

/** Exits that are kept. */
const KEPT = 4;

/** "~exits/<agent id>": how the agent's process ended the last times. Kept beside the agent, because views hold agents. */
export const exitsKey = (agentId: string): string => `${QUIET_PREFIX}exits/${agentId}`;

export const encodeExits = (record: ExitsRecord): Uint8Array => encode(ExitsRecordSchema, record);
export const decodeExits = (bytes: Uint8Array): ExitsRecord => fromBinary(ExitsRecordSchema, bytes);

/**
 * The exits of a report that are not known yet, oldest first. A supervisor repeats the last ones in every report and in every
 * session; one that was itself restarted counts its starts anew. Pure.
 */
export function newExits(
  known: ExitsRecord | undefined,
  sessionEpoch: bigint,
  reported: readonly ProcessExit[],
): ProcessExit[] {
  if (known === undefined) return [...reported];
  const newest = known.sessionEpoch === sessionEpoch ? (known.exits[0]?.start ?? 0) : 0;
  return reported.filter(
    (exit) => exit.start > newest && !known.exits.some((other) => isSameExit(exit, other)),
  );
}

/** The record with new exits, given oldest first. */
export function withExits(
  known: ExitsRecord | undefined,
  sessionEpoch: bigint,
  fresh: readonly ProcessExit[],
  wallMs: number,
): ExitsRecord {
  const stamped = fresh.map((exit) => {
    const copy = Object.assign(create(ProcessExitSchema), exit);
    copy.time = timestampFromMs(wallMs);
    return copy;
  });
  const exits = [...stamped.reverse(), ...(known?.exits ?? [])].slice(0, KEPT);
  return create(ExitsRecordSchema, { exits, sessionEpoch });
}

function isSameExit(a: ProcessExit, b: ProcessExit): boolean {
  const none = create(DurationSchema);
  return (
    a.start === b.start &&
    a.exitCode === b.exitCode &&
    a.signal === b.signal &&
    equals(DurationSchema, a.ran ?? none, b.ran ?? none)
  );
}
