import { create, fromJson, type JsonValue } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  type Message,
  MessageSchema,
  type Payload,
  PayloadSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError, type FieldViolation } from '../lib/errors.ts';
import { invalidFields } from '../rpc/interceptors/validation.ts';

/** How events stand in a request: CloudEvents 1.0.2, HTTP Protocol Binding, section 3. */
export type EventMode = 'binary' | 'structured' | 'batch';

/** A header by its lower-case name. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>;

const STRUCTURED = 'application/cloudevents+json';
const BATCH = 'application/cloudevents-batch+json';
/** Events in one batch. */
export const MAX_BATCH = 256;
/** As for payloads everywhere, and one for the event around it and one for the batch. */
const DEEPEST = 34;
const ATTRIBUTE = /^[a-z0-9]{1,20}$/;
const HEADER = 'ce-';

/** The mode of a request; undefined: a CloudEvents format that is not served. */
export function modeOf(headers: Headers): EventMode | undefined {
  const { type, charset } = mediaOf(headers);
  if (!type.startsWith('application/cloudevents')) return 'binary';
  if (charset !== '' && charset !== 'utf-8') return undefined;
  return type === STRUCTURED ? 'structured' : type === BATCH ? 'batch' : undefined;
}

/** The events of a request, as messages. @throws DomainError MALFORMED_MESSAGE, INVALID_FIELDS */
export function readEvents(mode: EventMode, headers: Headers, body: Buffer): Message[] {
  if (mode === 'binary') return [binaryEvent(headers, body)];
  const json = parsed(body, 'the body');
  if (mode === 'structured') return [jsonEvent(json, '')];
  if (!Array.isArray(json)) throw malformed('a batch is a JSON array of events');
  if (json.length > MAX_BATCH) {
    const description = `has ${json.length} events; at most ${MAX_BATCH} are allowed`;
    throw invalidFields([{ field: 'events', description }]);
  }
  return json.map((event, index) => jsonEvent(event, `events[${index}].`));
}

/** Attributes are headers; the body is the data. */
function binaryEvent(headers: Headers, body: Buffer): Message {
  const attributes = new Map<string, string>();
  const violations: FieldViolation[] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(HEADER) || value === undefined) continue;
    const attribute = name.slice(HEADER.length);
    const text = decodedHeader(Array.isArray(value) ? value.join(', ') : value);
    if (text === undefined) {
      violations.push({ field: name, description: 'is not percent-encoded UTF-8' });
    } else if (attribute === 'datacontenttype') {
      violations.push({ field: name, description: 'stands in the header content-type in the binary mode' });
    } else {
      attributes.set(attribute, text);
    }
  }
  const contentType = headers['content-type'];
  const data = body.length === 0 ? undefined : binaryData(body, mediaOf(headers), `${contentType ?? ''}`);
  return messageOf(attributes, data, '', violations);
}

function binaryData(body: Buffer, { type, charset }: Media, contentType: string): Payload {
  const isUtf8 = charset === '' || charset === 'utf-8' || charset === 'us-ascii';
  if (isJson(type) && isUtf8) return jsonPayload(parsed(body, 'the data'), contentType);
  const text = type.startsWith('text/') && isUtf8 ? utf8(body) : undefined;
  return text === undefined
    ? create(PayloadSchema, { contentType, data: { case: 'binary', value: body } })
    : create(PayloadSchema, { contentType, data: { case: 'text', value: text } });
}

/** JSON Event Format, section 3. @param at the path of the event, for violations */
function jsonEvent(json: JsonValue, at: string): Message {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw malformed(`${at === '' ? 'an event' : at.slice(0, -1)} is not a JSON object`);
  }
  const attributes = new Map<string, string>();
  const violations: FieldViolation[] = [];
  for (const [name, value] of Object.entries(json)) {
    // "Unset attributes MAY be encoded to the JSON value of null."
    if (name === 'data' || name === 'data_base64' || value === null) continue;
    const isSound =
      typeof value === 'string' || typeof value === 'boolean' || Number.isSafeInteger(value as unknown);
    if (isSound) attributes.set(name, `${value as string | number | boolean}`);
    else
      violations.push({ field: at + name, description: 'must be a string, an integer, a boolean or null' });
  }
  const contentType = attributes.get('datacontenttype') ?? '';
  attributes.delete('datacontenttype');
  const data = jsonData(json, contentType, at, violations);
  return messageOf(attributes, data, at, violations);
}

function jsonData(
  event: { [key: string]: JsonValue },
  contentType: string,
  at: string,
  violations: FieldViolation[],
): Payload | undefined {
  const { data = null, data_base64: encoded = null } = event;
  if (encoded !== null) {
    if (data !== null) {
      violations.push({ field: `${at}data_base64`, description: 'and data must not be given both' });
    } else if (typeof encoded !== 'string' || !BASE64.test(encoded) || encoded.length % 4 !== 0) {
      violations.push({ field: `${at}data_base64`, description: 'must be a string in base64' });
    } else {
      const value = Buffer.from(encoded, 'base64');
      return create(PayloadSchema, { contentType, data: { case: 'binary', value } });
    }
    return undefined;
  }
  if (data === null) return undefined;
  // A string of another type than JSON is the data itself; any other value is JSON, whatever it says.
  const isText = typeof data === 'string' && contentType !== '' && !isJson(contentType.split(';')[0] ?? '');
  if (isText) return create(PayloadSchema, { contentType, data: { case: 'text', value: data } });
  return jsonPayload(data, contentType);
}

// Without backtracking: one class, then at most two signs.
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** @throws DomainError INVALID_FIELDS */
function messageOf(
  attributes: Map<string, string>,
  data: Payload | undefined,
  at: string,
  violations: FieldViolation[],
): Message {
  const version = attributes.get('specversion');
  if (version !== '1.0') {
    const description =
      version === undefined
        ? 'must be given: send an event in the binary mode (headers ce-specversion, ce-id, ce-source, ce-type), or the ' +
          `structured mode (content-type ${STRUCTURED} or ${BATCH})`
        : `must be 1.0, the version of CloudEvents that is served`;
    violations.push({ field: `${at}specversion`, description });
  } else {
    for (const name of ['id', 'source', 'type']) {
      if ((attributes.get(name) ?? '') === '')
        violations.push({ field: at + name, description: 'must be given' });
    }
  }
  for (const name of attributes.keys()) {
    if (!ATTRIBUTE.test(name)) {
      const description = 'is no name of an attribute: 1 to 20 characters of [a-z0-9] are allowed';
      violations.push({ field: at + name.slice(0, 64), description });
    }
  }
  if (violations.length > 0) throw invalidFields(violations);
  const { id = '', source = '', type = '', subject = '', ...rest } = Object.fromEntries(attributes);
  const { specversion: _, ...extensions } = rest;
  return create(MessageSchema, {
    ...{ id, source, type, subject, extensions },
    ...(data === undefined ? {} : { data }),
  });
}

function jsonPayload(json: JsonValue, contentType: string): Payload {
  return create(PayloadSchema, {
    contentType,
    data: { case: 'json', value: fromJson(ValueSchema, json) },
  });
}

function parsed(body: Buffer, what: string): JsonValue {
  const text = utf8(body);
  if (text === undefined) throw malformed(`${what} is not UTF-8`);
  let json: JsonValue;
  try {
    json = JSON.parse(text) as JsonValue;
  } catch (error) {
    throw malformed(`${what} is not JSON: ${error instanceof Error ? error.message : 'unreadable'}`);
  }
  if (isDeeper(json, DEEPEST)) throw malformed(`${what} is nested deeper than 32 levels`);
  return json;
}

function isDeeper(json: JsonValue, levels: number): boolean {
  if (typeof json !== 'object' || json === null) return false;
  return levels === 0 || Object.values(json).some((value) => isDeeper(value, levels - 1));
}

/** A header's value: quoted strings unescaped, then percent-decoded once (section 3.1.3.2). */
function decodedHeader(value: string): string | undefined {
  const quoted = /^"(.*)"$/s.exec(value);
  const text = quoted?.[1] === undefined ? value : quoted[1].replace(/\\(.)/gs, '$1');
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

interface Media {
  type: string;
  charset: string;
}

function mediaOf(headers: Headers): Media {
  const [type = '', ...parameters] = `${headers['content-type'] ?? ''}`.toLowerCase().split(';');
  const charset = parameters.map((text) => /^\s*charset="?([^"\s]*)"?\s*$/.exec(text)?.[1]).find(Boolean);
  return { type: type.trim(), charset: charset ?? '' };
}

const isJson = (type: string): boolean => /^[^/\s]+\/(?:[^\s;]+\+)?json$/.test(type.trim().toLowerCase());

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

const malformed = (message: string): DomainError =>
  new DomainError({ reason: ErrorReason.MALFORMED_MESSAGE, message });
