import { create } from '@bufbuild/protobuf';
import type { Report, Work } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { type Hello, HelloSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { ConnectAgentOptions } from './options.ts';

/** Of the package. */
export const SDK_VERSION = '0.1';

/** Frames beyond the basics that the SDK can do. */
const FEATURES = ['messages/1'];

/** The service takes no more. */
const MAX_IN_FLIGHT = 1_024;
/** By this name the service counts the tasks that an agent may have. */
const SLOTS = 'slots';

/** How many tasks run at a time: as said, else as many as the agent has slots. */
export function concurrencyOf({
  concurrency,
  spec,
}: Pick<ConnectAgentOptions, 'concurrency' | 'spec'>): number {
  const slots = spec.capacity?.[SLOTS];
  return Math.max(1, Math.floor(concurrency ?? Number(slots ?? 1)));
}

/** What the agent registers: one that takes tasks and says nothing of slots has as many as run at a time. */
export function specOf(
  options: Pick<ConnectAgentOptions, 'concurrency' | 'onTask' | 'spec'>,
): ConnectAgentOptions['spec'] {
  const { spec, concurrency, onTask } = options;
  if (concurrency === undefined && onTask === undefined) return spec;
  if (spec.capacity?.[SLOTS] !== undefined) return spec;
  return { ...spec, capacity: { ...spec.capacity, [SLOTS]: BigInt(concurrencyOf(options)) } };
}

/** How an agent attaches. */
export function helloOf(
  options: Pick<ConnectAgentOptions, 'maxInFlight' | 'concurrency' | 'spec' | 'features' | 'client'>,
  now: { held: Work[]; instanceId: string; report: Report | undefined },
): Hello {
  const { features = FEATURES, client = `orchestrator-ts/${SDK_VERSION}` } = options;
  const { held, instanceId, report } = now;
  return create(HelloSchema, {
    held,
    maxInFlight: Math.min(MAX_IN_FLIGHT, Math.max(options.maxInFlight ?? 1, concurrencyOf(options))),
    features: [...features],
    instanceId,
    client,
    ...(report === undefined ? {} : { report }),
  });
}
