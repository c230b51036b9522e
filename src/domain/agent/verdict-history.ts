import { fromBinary } from '@bufbuild/protobuf';
import { type Verdict, VerdictSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { VerdictHistorySchema } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../lib/encode.ts';

/** Verdicts kept besides the present one. */
const KEPT = 15;
/** VerdictHistory.verdicts: field 1, length-delimited. */
const TAG = 0x0a;

/**
 * Files a verdict before the others: in front of their bytes, as repeated fields are written one after the other. Decoding and
 * encoding all of them anew would be a third of what an attachment costs.
 */
export function fileVerdict(history: Uint8Array, verdict: Verdict): Uint8Array {
  const encoded = encode(VerdictSchema, verdict);
  const kept = history.subarray(0, endOf(history, KEPT - 1));
  const length = varint(encoded.length);
  const filed = new Uint8Array(1 + length.length + encoded.length + kept.length);
  filed[0] = TAG;
  filed.set(length, 1);
  filed.set(encoded, 1 + length.length);
  filed.set(kept, 1 + length.length + encoded.length);
  return filed;
}

/** Newest first. */
export const readVerdicts = (history: Uint8Array): Verdict[] =>
  fromBinary(VerdictHistorySchema, history).verdicts;

/** Where the first `count` verdicts end; fields that this version does not know end them too. */
function endOf(history: Uint8Array, count: number): number {
  let at = 0;
  for (let seen = 0; seen < count && history[at] === TAG; seen += 1) {
    let length = 0;
    let next = at + 1;
    for (let shift = 0; ; shift += 7) {
      const byte = history[next] ?? 0;
      length += (byte & 0x7f) << shift;
      next += 1;
      if (byte < 0x80) break;
    }
    at = next + length;
  }
  return Math.min(at, history.length);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return bytes;
}
