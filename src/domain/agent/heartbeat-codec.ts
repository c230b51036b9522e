/** A heartbeat that only answers: no frame id, no report. */
export interface PlainHeartbeat {
  echo: number;
  heldMs: number;
  agentWallMs: number | undefined;
}

/** Field numbers and wire types of OpenSessionRequest.heartbeat, Heartbeat, Duration and Timestamp. */
const FRAME_HEARTBEAT = 0x1a;
const HEARTBEAT_ECHO = 0x09;
const HEARTBEAT_HELD = 0x12;
const HEARTBEAT_AGENT_TIME = 0x1a;
const SECONDS = 0x08;
const NANOS = 0x10;

/** No plain heartbeat is longer. */
const MAX_LENGTH = 64;
/** A longer delay breaks the rules of the field: the validator says so. */
const MAX_HELD_MS = 24 * 3600 * 1000;

/** Reused: decoding a heartbeat allocates nothing. */
const result: PlainHeartbeat = { echo: 0, heldMs: 0, agentWallMs: undefined };
let cursor = 0;

/**
 * Decodes the answers that arrive thousands of times a second, at a tenth of the general decoder's cost. Undefined for
 * everything that is not exactly such an answer in canonical form: the general decoder judges that. The returned
 * object is valid until the next call.
 */
export function decodePlainHeartbeat(bytes: Uint8Array): PlainHeartbeat | undefined {
  const length = bytes.length;
  if (length < 2 || length > MAX_LENGTH || bytes[0] !== FRAME_HEARTBEAT || bytes[1] !== length - 2)
    return undefined;
  result.echo = 0;
  result.heldMs = 0;
  result.agentWallMs = undefined;
  let seen = 0;
  cursor = 2;
  while (cursor < length) {
    const tag = bytes[cursor] ?? 0;
    // Fields come once and in order, as every encoder writes them.
    if (tag <= seen) return undefined;
    seen = tag;
    cursor += 1;
    if (tag === HEARTBEAT_ECHO) {
      if (cursor + 8 > length) return undefined;
      result.echo = uint32(bytes, cursor) + uint32(bytes, cursor + 4) * 0x1_0000_0000;
      if (!Number.isSafeInteger(result.echo)) return undefined;
      cursor += 8;
    } else if (tag === HEARTBEAT_HELD || tag === HEARTBEAT_AGENT_TIME) {
      const ms = secondsAndNanos(bytes, length);
      if (ms === undefined) return undefined;
      if (tag === HEARTBEAT_HELD && ms > MAX_HELD_MS) return undefined;
      if (tag === HEARTBEAT_HELD) result.heldMs = ms;
      else result.agentWallMs = ms;
    } else {
      return undefined;
    }
  }
  return result;
}

/** A Duration or Timestamp that is not negative, in milliseconds; undefined if it is anything else. */
function secondsAndNanos(bytes: Uint8Array, length: number): number | undefined {
  if (cursor >= length) return undefined;
  const end = cursor + 1 + (bytes[cursor] ?? 0);
  cursor += 1;
  if (end > length) return undefined;
  let ms = 0;
  let seen = 0;
  while (cursor < end) {
    const tag = bytes[cursor] ?? 0;
    if (tag <= seen) return undefined;
    seen = tag;
    cursor += 1;
    if (tag !== SECONDS && tag !== NANOS) return undefined;
    const value = varint(bytes, end);
    if (value === undefined) return undefined;
    if (tag === NANOS && value > 999_999_999) return undefined;
    // Centuries are for the general decoder and its limits.
    if (tag === SECONDS && value > 9_999_999_999) return undefined;
    ms += tag === SECONDS ? value * 1000 : value / 1e6;
  }
  return ms;
}

/** At most 2^42; negative numbers take ten bytes and are not plain. */
function varint(bytes: Uint8Array, end: number): number | undefined {
  let value = 0;
  let factor = 1;
  for (let i = 0; i < 6 && cursor < end; i += 1) {
    const byte = bytes[cursor] ?? 0;
    cursor += 1;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return value;
    factor *= 128;
  }
  return undefined;
}

function uint32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24)) >>>
    0
  );
}
