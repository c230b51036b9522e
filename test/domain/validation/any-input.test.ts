import { create, type DescMessage, fromBinary } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AgentService } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type OpenSessionRequest,
  OpenSessionRequestSchema,
  SessionService,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { TaskService } from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { AlertService } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { MonitoringService } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { ResourceService } from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { AgentRecordSchema } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { validateFrame } from '../../../src/domain/validation/frames.ts';
import { validateRequest } from '../../../src/domain/validation/requests.ts';
import type { FieldViolation } from '../../../src/lib/errors.ts';
import { arbitraryMessage } from './arbitrary-message.ts';

const requests = [AgentService, SessionService, MonitoringService, AlertService, TaskService, ResourceService]
  .flatMap((service) => service.methods)
  .filter((method) => method.methodKind !== 'bidi_streaming')
  .map((method): [string, DescMessage] => [method.input.name, method.input]);

/** Fit to be sent and logged: known first field, bounded, one line, encodable. */
function expectFit(desc: DescMessage, violations: FieldViolation[]): void {
  const names = new Set(desc.fields.map((field) => field.name));
  expect(violations.length).toBeLessThanOrEqual(101);
  for (const { field, description } of violations) {
    if (field !== '…') expect(names).toContain(field.split(/[.[]/)[0]);
    expect(description.length).toBeGreaterThan(0);
    expect(field.length + description.length).toBeLessThan(2000);
    expect(field + description).not.toMatch(/[\p{Cc}\p{Surrogate}\p{Zl}\p{Zp}]/u);
  }
}

describe.each(requests)('%s', (_, desc) => {
  test('is judged without a crash whatever its fields hold', () => {
    fc.assert(
      fc.property(arbitraryMessage(desc), (message) => expectFit(desc, validateRequest(message))),
      { numRuns: 200 },
    );
  });

  test('made of random bytes is judged without a crash where it decodes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        let message: ReturnType<typeof fromBinary>;
        try {
          message = fromBinary(desc, bytes);
        } catch {
          return;
        }
        expectFit(desc, validateRequest(message));
      }),
      { numRuns: 200 },
    );
  });
});

test('a frame is judged without a crash whatever it holds, and the next one independently of it', () => {
  const sound = create(OpenSessionRequestSchema, { frame: { case: 'heartbeat', value: { echo: 1n } } });
  fc.assert(
    fc.property(arbitraryMessage(OpenSessionRequestSchema), (message) => {
      expectFit(OpenSessionRequestSchema, validateFrame(message as OpenSessionRequest));
      expect(validateFrame(sound)).toEqual([]);
    }),
    { numRuns: 1000 },
  );
});

test('a message of this API without rules is an error of the service, not a pass', () => {
  expect(() => validateRequest(create(AgentRecordSchema))).toThrow('has no validation rules');
});

test('messages of other packages pass', () => {
  expect(validateRequest(create(EmptySchema))).toEqual([]);
});
