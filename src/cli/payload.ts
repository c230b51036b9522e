import { readFileSync } from 'node:fs';
import { create, fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Payload, PayloadSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { UsageError } from './errors.ts';
import type { CliIo } from './io.ts';

/** More than any service takes; a file that is larger is not read to its end. */
const MAX_BYTES = 1024 * 1024;

/** Where a value comes from: an argument, a file, or stdin ("-"); exactly one of them. */
export interface ValueSource {
  argument: string | undefined;
  file: string | undefined;
  /** It must be JSON, and is stored as such. */
  json: boolean;
}

export async function readPayload(io: CliIo, { argument, file, json }: ValueSource): Promise<Payload> {
  if (argument !== undefined && file !== undefined)
    throw new UsageError('a value and --file: only one of them');
  if (argument !== undefined) return json ? jsonPayload(argument) : textPayload(argument);
  if (file === undefined && io.stdin.isTTY === true) {
    throw new UsageError('no value: give it as an argument, with --file, or on stdin');
  }
  const bytes = file === undefined || file === '-' ? await readStdin(io) : readFile(file);
  const text = textOf(bytes);
  if (json) return jsonPayload(text ?? '');
  return text === undefined
    ? create(PayloadSchema, { data: { case: 'binary', value: bytes } })
    : textPayload(text);
}

export const textPayload = (value: string): Payload =>
  create(PayloadSchema, { data: { case: 'text', value } });

export function jsonPayload(text: string): Payload {
  let json: JsonValue;
  try {
    json = JSON.parse(text) as JsonValue;
  } catch (error) {
    throw new UsageError(`the value is not JSON: ${error instanceof Error ? error.message : ''}`);
  }
  return create(PayloadSchema, { data: { case: 'json', value: fromJson(ValueSchema, json) } });
}

/** The value as text, unescaped; bytes that are no text stay what they are. */
export function payloadContent(payload: Payload | undefined): string | Uint8Array {
  const { data } = payload ?? create(PayloadSchema);
  if (data.case === 'json') return JSON.stringify(toJson(ValueSchema, data.value));
  return data.case === undefined ? '' : data.value;
}

function readFile(file: string): Uint8Array {
  try {
    return checked(readFileSync(file));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new UsageError(`cannot read --file ${file}: ${code}`);
  }
}

async function readStdin({ stdin }: CliIo): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of stdin as AsyncIterable<Buffer | string>) {
    parts.push(Buffer.from(part));
    size += part.length;
    if (size > MAX_BYTES) break;
  }
  return checked(Buffer.concat(parts));
}

function checked(bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_BYTES) throw new UsageError('the value is larger than 1 MiB');
  return bytes;
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
