import { createConnection, type Socket } from 'node:net';

/**
 * The least HTTP/2 client that can speak gRPC (RFC 9113): hand-made frames on a bare socket. Loads use it because it
 * costs a fraction of what it measures, fault tests because it can break every rule. It does not decode headers.
 */
export interface H2Options {
  host: string;
  port: number;
  /** What a stream may receive before the peer must wait; default 2^31-1: never. 0: read nothing at all. */
  initialWindow?: number;
  onClose?: (error: Error | undefined) => void;
  onGoAway?: (code: number) => void;
}

/** What one stream hears. Buffers are only valid during the call. */
export interface H2Stream {
  data(payload: Buffer): void;
  /** Headers or trailers; `endStream` with trailers. */
  headers?(block: Buffer, endStream: boolean): void;
  /** The stream is over: by END_STREAM (undefined) or RST_STREAM (its code). */
  end(resetCode: number | undefined): void;
}

const frameData = 0;
const frameHeaders = 1;
const frameReset = 3;
const frameSettings = 4;
const framePing = 6;
const frameGoAway = 7;
const frameWindowUpdate = 8;
const flagEndStream = 0x1;
const flagAck = 0x1;
const flagEndHeaders = 0x4;
const maxWindow = 2 ** 31 - 1;
const initialConnectionWindow = 65_535;
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

// Every socket of the process reads into this one: a chunk is used up before the next read.
const readBuffer = Buffer.allocUnsafe(256 * 1024);

export function h2Frame(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(9 + payload.length);
  frame.writeUIntBE(payload.length, 0, 3);
  frame[3] = type;
  frame[4] = flags;
  frame.writeUInt32BE(streamId, 5);
  frame.set(payload, 9);
  return frame;
}

/** A DATA frame with one uncompressed gRPC message. */
export function grpcDataFrame(streamId: number, message: Uint8Array, endStream = false): Buffer {
  const payload = Buffer.allocUnsafe(5 + message.length);
  payload[0] = 0;
  payload.writeUInt32BE(message.length, 1);
  payload.set(message, 5);
  return h2Frame(frameData, endStream ? flagEndStream : 0, streamId, payload);
}

function hpackString(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}

/** Header block without the dynamic table (RFC 7541, literals without indexing): the same bytes whenever it is sent. */
export function grpcHeaders(path: string, authority: string, extra: Record<string, string> = {}): Buffer {
  const literal = ([name, value]: [string, string]) =>
    Buffer.concat([Buffer.from([0x00]), hpackString(name), hpackString(value)]);
  return Buffer.concat([
    Buffer.from([0x83, 0x86, 0x04]), // :method POST, :scheme http, :path (name from the static table)
    hpackString(path),
    Buffer.from([0x01]), // :authority
    hpackString(authority),
    ...Object.entries({ 'content-type': 'application/grpc', te: 'trailers', ...extra }).map(literal),
  ]);
}

export class H2Client {
  readonly socket: Socket;
  readonly #streams = new Map<number, H2Stream>();
  readonly #options: H2Options;
  #nextStream = 1;
  #partial: Buffer | undefined;
  #received = 0;
  #goAwayCode: number | undefined;

  constructor(options: H2Options) {
    this.#options = options;
    this.socket = createConnection({
      host: options.host,
      port: options.port,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.#read(readBuffer.subarray(0, length));
          return true;
        },
      },
    });
    let failure: Error | undefined;
    this.socket.on('error', (error) => {
      failure = error;
    });
    this.socket.on('close', () => {
      const streams = [...this.#streams.values()];
      this.#streams.clear();
      for (const stream of streams) stream.end(this.#goAwayCode ?? 0x100);
      options.onClose?.(failure);
    });
    const settings = Buffer.alloc(12);
    settings.writeUInt16BE(0x2, 0); // ENABLE_PUSH 0
    settings.writeUInt16BE(0x4, 6);
    settings.writeUInt32BE(options.initialWindow ?? maxWindow, 8);
    this.socket.write(Buffer.concat([preface, h2Frame(frameSettings, 0, 0, settings)]));
    if (options.initialWindow === undefined) this.#openWindow(maxWindow - initialConnectionWindow);
  }

  /** Resolves once TCP is connected. */
  connected(): Promise<void> {
    if (!this.socket.connecting) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.socket.once('connect', resolve);
      this.socket.once('error', reject);
    });
  }

  /** Opens a stream; `first`, if given, is the first gRPC message, and with `endStream` the only one. */
  open(headers: Buffer, stream: H2Stream, first?: Uint8Array, endStream = false): number {
    const id = this.#nextStream;
    this.#nextStream += 2;
    this.#streams.set(id, stream);
    const head = h2Frame(frameHeaders, flagEndHeaders, id, headers);
    this.socket.write(
      first === undefined ? head : Buffer.concat([head, grpcDataFrame(id, first, endStream)]),
    );
    return id;
  }

  /** Sends one gRPC message. No flow control: senders stay far below the peer's 64 KiB. */
  send(streamId: number, message: Uint8Array): void {
    this.socket.write(grpcDataFrame(streamId, message));
  }

  /** Half-closes a stream. */
  finish(streamId: number): void {
    this.socket.write(h2Frame(frameData, flagEndStream, streamId, Buffer.alloc(0)));
  }

  reset(streamId: number, code = 8): void {
    this.#streams.delete(streamId);
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(code);
    this.socket.write(h2Frame(frameReset, 0, streamId, payload));
  }

  close(): void {
    this.socket.destroy();
  }

  #openWindow(bytes: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(bytes);
    this.socket.write(h2Frame(frameWindowUpdate, 0, 0, payload));
  }

  #read(chunk: Buffer): void {
    let buffer = chunk;
    if (this.#partial !== undefined) {
      buffer = Buffer.concat([this.#partial, chunk]);
      this.#partial = undefined;
    }
    let at = 0;
    while (buffer.length - at >= 9) {
      const length = buffer.readUIntBE(at, 3);
      const end = at + 9 + length;
      if (end > buffer.length) break;
      const streamId = buffer.readUInt32BE(at + 5) & 0x7fffffff;
      this.#frame(buffer[at + 3] ?? 0, buffer[at + 4] ?? 0, streamId, buffer.subarray(at + 9, end));
      at = end;
    }
    if (at < buffer.length) this.#partial = Buffer.from(buffer.subarray(at));
  }

  #frame(type: number, flags: number, streamId: number, payload: Buffer): void {
    switch (type) {
      case frameData:
        this.#data(flags, streamId, payload);
        return;
      case frameHeaders:
        this.#streams.get(streamId)?.headers?.(payload, (flags & flagEndStream) !== 0);
        if (flags & flagEndStream) this.#end(streamId, undefined);
        return;
      case frameReset:
        this.#end(streamId, payload.readUInt32BE(0));
        return;
      case frameSettings:
        if ((flags & flagAck) === 0) this.socket.write(h2Frame(frameSettings, flagAck, 0, Buffer.alloc(0)));
        return;
      case framePing:
        if ((flags & flagAck) === 0) this.socket.write(h2Frame(framePing, flagAck, 0, payload));
        return;
      case frameGoAway:
        this.#goAwayCode = payload.readUInt32BE(4);
        this.#options.onGoAway?.(this.#goAwayCode);
        return;
      default:
    }
  }

  #data(flags: number, streamId: number, payload: Buffer): void {
    this.#received += payload.length;
    if (this.#received > 2 ** 29 && this.#options.initialWindow === undefined) {
      this.#openWindow(this.#received);
      this.#received = 0;
    }
    if (payload.length > 0) this.#streams.get(streamId)?.data(payload);
    if (flags & flagEndStream) this.#end(streamId, undefined);
  }

  #end(streamId: number, resetCode: number | undefined): void {
    const stream = this.#streams.get(streamId);
    this.#streams.delete(streamId);
    stream?.end(resetCode);
  }
}

/** Puts gRPC messages together from DATA payloads. The message is only valid during the call. */
export class GrpcReader {
  readonly #onMessage: (message: Buffer) => void;
  #partial: Buffer | undefined;

  constructor(options: { onMessage: (message: Buffer) => void }) {
    this.#onMessage = options.onMessage;
  }

  read(payload: Buffer): void {
    const buffer = this.#partial === undefined ? payload : Buffer.concat([this.#partial, payload]);
    this.#partial = undefined;
    let at = 0;
    while (buffer.length - at >= 5) {
      const end = at + 5 + buffer.readUInt32BE(at + 1);
      if (end > buffer.length) break;
      this.#onMessage(buffer.subarray(at + 5, end));
      at = end;
    }
    if (at < buffer.length) this.#partial = Buffer.from(buffer.subarray(at));
  }
}

/** One unary gRPC call. Resolves with the response message; undefined when the server answered with an error. */
export function grpcUnary(
  client: H2Client,
  headers: Buffer,
  message: Uint8Array,
): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    let response: Buffer | undefined;
    // A gRPC error is trailers without a message, so that a message alone says success.
    const reader = new GrpcReader({
      onMessage: (bytes) => {
        response = Buffer.from(bytes);
      },
    });
    client.open(
      headers,
      { data: (payload) => reader.read(payload), end: () => resolve(response) },
      message,
      true,
    );
  });
}
