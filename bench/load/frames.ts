/** Session frames by hand: a generator that used the measured library would cost as much as what it measures. */

const tagPing = 0x12; // OpenSessionResponse.ping
const tagEcho = 0x09; // Ping.echo and Heartbeat.echo, fixed64
const tagHeartbeat = 0x1a; // OpenSessionRequest.heartbeat
const tagAgentTime = 0x1a; // Heartbeat.agent_time

function writeVarint(buffer: Buffer, value: number, offset: number): number {
  let rest = value;
  let at = offset;
  for (; rest >= 128; rest = Math.floor(rest / 128)) buffer[at++] = (rest % 128) | 128;
  buffer[at++] = rest;
  return at;
}

/** Where the echo of a ping stands in an encoded OpenSessionResponse; -1 if it is no ping or an echo of 0. */
export function echoOffset(message: Buffer): number {
  return message[0] === tagPing && message[2] === tagEcho ? 3 : -1;
}

/**
 * An encoded OpenSessionRequest with the heartbeat that answers the ping in `message`: its echo and the present time,
 * which is what an agent with an unchanged report sends.
 */
export function heartbeatFor(message: Buffer, offset: number): Buffer {
  const buffer = Buffer.allocUnsafe(32);
  const now = Date.now();
  buffer[0] = tagHeartbeat;
  buffer[2] = tagEcho;
  message.copy(buffer, 3, offset, offset + 8);
  buffer[11] = tagAgentTime;
  buffer[13] = 0x08; // seconds
  let at = writeVarint(buffer, Math.floor(now / 1000), 14);
  buffer[at] = 0x10; // nanos
  at = writeVarint(buffer, (now % 1000) * 1_000_000, at + 1);
  buffer[12] = at - 13;
  buffer[1] = at - 2;
  return buffer.subarray(0, at);
}

/** An etcd LeaseKeepAliveRequest. */
export function leaseKeepAlive(id: number): Buffer {
  const buffer = Buffer.alloc(11);
  buffer[0] = 0x08;
  return buffer.subarray(0, writeVarint(buffer, id, 1));
}

/** An etcd LeaseGrantRequest. */
export function leaseGrant(id: number, ttlSeconds: number): Buffer {
  const buffer = Buffer.alloc(22);
  buffer[0] = 0x08;
  let at = writeVarint(buffer, ttlSeconds, 1);
  buffer[at] = 0x10;
  at = writeVarint(buffer, id, at + 1);
  return buffer.subarray(0, at);
}
