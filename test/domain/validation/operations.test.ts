import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  type OperationSpecSchema,
  StartOperationRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { validateRequest } from '../../../src/domain/validation/requests.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';

type Spec = Exclude<MessageInitShape<typeof OperationSpecSchema>, { $typeName: string }>;
const check = (spec: Spec) =>
  validateRequest(
    create(StartOperationRequestSchema, { spec: { command: 'check', agentIds: ['a'], ...spec } }),
  ).map(({ field, description }) => `${field} ${description}`);
const percent = (value: number) => ({ amount: { case: 'percent' as const, value } });
const count = (value: number) => ({ amount: { case: 'count' as const, value } });
const text = (value: string) => ({ data: { case: 'text' as const, value } });

describe('what StartOperation may be asked for', () => {
  it.each<[string, Spec]>([
    ["a command of the agents' own with arguments", { arguments: text('x'.repeat(4096)) }],
    ['shares', { wave: percent(0.1), maxInFlight: percent(100), maxErrors: percent(0) }],
    ['numbers', { wave: count(1), maxInFlight: count(1), maxErrors: count(0) }],
    ['everybody', { agentIds: [], filter: {} }],
    ['times', { agentTimeout: durationFromMs(1000), wavePause: durationFromMs(0) }],
  ])('%s', (_, spec) => expect(check(spec)).toEqual([]));

  it.each<[string, Spec, string]>([
    ['no command', { command: '' }, 'spec.command must not be empty'],
    ['a command with a space', { command: 'rm -rf' }, 'spec.command is "rm -rf"; must be of characters'],
    [
      'a command that only the service gives',
      { command: 'quarantine' },
      'spec.command is the service\'s own; "pause"',
    ],
    ['arguments of a drain', { command: 'drain', arguments: text('x') }, 'spec.arguments "drain" takes none'],
    ['arguments that are too large', { arguments: text('x'.repeat(4097)) }, 'spec.arguments has 4097 bytes'],
    ['nobody', { agentIds: [] }, 'spec.filter must be given, or agent_ids'],
    ['an agent twice', { agentIds: ['a', 'a'] }, 'spec.agent_ids[1] repeats entry 0'],
    ['a filter that cannot be read', { filter: { labelSelector: 'a in' } }, 'spec.filter.label_selector '],
    ['a share beyond 100 %', { wave: percent(101) }, 'spec.wave.percent is 101; 0 to 100 is allowed'],
    ['a share below 0 %', { maxErrors: percent(-1) }, 'spec.max_errors.percent is -1'],
    ['a share that is no number', { maxErrors: percent(Number.NaN) }, 'spec.max_errors.percent is NaN'],
    ['waves of nobody', { wave: count(0) }, 'spec.wave.count is 0; must be more'],
    ['an amount without a number', { wave: {} }, 'spec.wave must have count or percent'],
    ['a time of nothing', { agentTimeout: durationFromMs(0) }, 'spec.agent_timeout is 0 s; 1 s to 30 days'],
    ['health above 1', { minHealth: 1.1 }, 'spec.min_health is 1.1; 0 to 1 is allowed'],
    [
      'the health of who has left',
      { command: 'stop', minHealth: 0.5 },
      'spec.min_health means nothing with "stop"',
    ],
  ])('not %s', (_, spec, fault) => expect(check(spec).join()).toContain(fault));
});
