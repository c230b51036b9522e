import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { ErrorReason, ErrorReasonSchema } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../src/lib/errors.ts';
import { systemIds } from '../../src/lib/ids.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { Code, codeName } from '../../src/rpc/codes.ts';
import { codeOf, ErrorMapper, encodeStatus, reasonName } from '../../src/rpc/errors.ts';
import { StoreFullError, StoreUnavailableError } from '../../src/state/store.ts';

const logged: { fields: Record<string, unknown>; message: string }[] = [];
const mapper = new ErrorMapper({
  log: { ...silentLogger, error: (fields, message) => void logged.push({ fields: { ...fields }, message }) },
  ids: systemIds,
});

const proto = readFileSync('proto/mycosoft/orchestrator/common/v1/error_reason.proto', 'utf8');
const documented = [
  ...proto.matchAll(/\/\/ ([A-Z_]+):[^\n]*\n(?:\s*\/\/[^\n]*\n)*\s*ERROR_REASON_(\w+) = (\d+);/g),
].map(([, code, name, number]) => ({ code, name, number: Number(number) }));

test('every reason but UNSPECIFIED says its status code in the published enum', () => {
  expect(documented.map(({ number }) => number)).toEqual(
    ErrorReasonSchema.values.map(({ number }) => number).filter((number) => number !== 0),
  );
});

test.each(documented)('$name is $code, and ErrorInfo carries its name', ({ code, name, number }) => {
  expect(codeName(codeOf(number))).toBe(code);
  const mapped = mapper.map(new DomainError({ reason: number as ErrorReason, message: 'why' }), 'test');
  expect(mapped).toMatchObject({ code: codeOf(number), reason: name, message: 'why', errorId: undefined });
  const status = fromBinary(StatusSchema, encodeStatus(mapped));
  expect(status).toMatchObject({ code: codeOf(number), message: 'why' });
  const info = status.details[0] && anyUnpack(status.details[0], ErrorInfoSchema);
  expect(info).toMatchObject({ reason: name, domain: 'orchestrator.mycosoft.dev' });
});

test('details have the standard type names, so that clients know them', () => {
  const error = new DomainError({
    reason: ErrorReason.INVALID_FIELDS,
    message: 'm',
    violations: [{ field: 'spec.labels["a b"]', description: 'is bad' }],
    retryAfterMs: 1_500.2,
    metadata: { a: 'b' },
  });
  const mapped = mapper.map(error, 'test');
  expect(mapped.retryAfterMs).toBe(1_501);
  const { details } = fromBinary(StatusSchema, encodeStatus(mapped));
  expect(details.map(({ typeUrl }) => typeUrl)).toEqual([
    'type.googleapis.com/google.rpc.ErrorInfo',
    'type.googleapis.com/google.rpc.BadRequest',
    'type.googleapis.com/google.rpc.RetryInfo',
  ]);
  const [info, bad, retry] = details;
  expect(info && anyUnpack(info, ErrorInfoSchema)?.metadata).toEqual({ a: 'b' });
  expect(bad && anyUnpack(bad, BadRequestSchema)?.fieldViolations[0]?.field).toBe('spec.labels["a b"]');
  expect(retry && anyUnpack(retry, RetryInfoSchema)?.retryDelay).toMatchObject({
    seconds: 1n,
    nanos: 501_000_000,
  });
});

test.each([
  [
    new StoreUnavailableError({ message: 'redis://secret', outcome: 'not_applied', retryAfterMs: 250 }),
    Code.UNAVAILABLE,
    'STORE_UNAVAILABLE',
    250,
  ],
  [
    new StoreUnavailableError({ message: 'redis://secret', outcome: 'unknown', retryAfterMs: 250 }),
    Code.UNAVAILABLE,
    'OUTCOME_UNKNOWN',
    250,
  ],
  [new StoreFullError('/var/lib/secret is full'), Code.RESOURCE_EXHAUSTED, 'STORE_FULL', undefined],
  [new DOMException('aborted', 'AbortError'), Code.CANCELLED, 'CANCELLED', undefined],
])('%s is told without what the store said of itself', (error, code, reason, retryAfterMs) => {
  const mapped = mapper.map(error, 'test');
  expect(mapped).toMatchObject({ code, reason, retryAfterMs });
  expect(JSON.stringify(mapped.message)).not.toContain('secret');
});

test.each([
  new Error('password=secret'),
  new TypeError('secret is not a function'),
  'secret',
  undefined,
  null,
  { message: 'secret' },
  new DomainError({ reason: ErrorReason.UNSPECIFIED, message: 'secret' }),
])('an unexpected error (%s) is INTERNAL with an id, logged whole, and leaks nothing', (error) => {
  logged.length = 0;
  const mapped = mapper.map(error, 'a.B/C');
  expect(mapped.code).toBe(Code.INTERNAL);
  expect(Buffer.from(encodeStatus(mapped)).toString('latin1')).not.toContain('secret');
  expect(logged).toHaveLength(1);
  expect(logged[0]?.fields).toMatchObject({ method: 'a.B/C', error_id: mapped.errorId, err: error });
  expect(mapped.message).toContain(mapped.errorId);
});

test('an error always fits into the headers of a default gRPC C client (8 KiB)', () => {
  const violations = Array.from({ length: 500 }, (_, i) => ({
    field: `f${i}`,
    description: 'x'.repeat(1_000),
  }));
  const metadata = Object.fromEntries(Array.from({ length: 4 }, (_, i) => [`k${i}`, 'v'.repeat(1_000)]));
  const error = new DomainError({
    reason: ErrorReason.INVALID_FIELDS,
    message: 'm'.repeat(10_000),
    violations,
    metadata,
  });
  const mapped = mapper.map(error, 'test');
  expect(encodeURI(mapped.message).length + (encodeStatus(mapped).length * 4) / 3).toBeLessThan(8_000);
  const detail = fromBinary(StatusSchema, encodeStatus(mapped)).details[1];
  const listed = detail && anyUnpack(detail, BadRequestSchema)?.fieldViolations;
  expect(listed?.at(-1)?.description).toMatch(/^\d+ more fields/);
});

test('a lone surrogate in a message does not break the response', () => {
  const mapped = mapper.map(
    new DomainError({ reason: ErrorReason.AGENT_NOT_FOUND, message: 'a\ud800b' }),
    'test',
  );
  expect(() => encodeURI(mapped.message)).not.toThrow();
  expect(() => encodeStatus(mapped)).not.toThrow();
});

test('a reason of a newer version is INTERNAL', () => {
  expect([codeOf(9_999), reasonName(9_999)]).toEqual([Code.INTERNAL, 'INTERNAL']);
});
