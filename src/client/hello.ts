import { create } from '@bufbuild/protobuf';
import type { Report, Work } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { type Hello, HelloSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { ConnectAgentOptions } from './options.ts';

/** Of the package. */
export const SDK_VERSION = '0.1';

/** Frames beyond the basics that the SDK can do. */
const FEATURES = ['messages/1'];

/** How an agent attaches. */
export function helloOf(
  options: Pick<ConnectAgentOptions, 'maxInFlight' | 'features' | 'client'>,
  now: { held: Work[]; instanceId: string; report: Report | undefined },
): Hello {
  const { maxInFlight = 1, features = FEATURES, client = `orchestrator-ts/${SDK_VERSION}` } = options;
  const { held, instanceId, report } = now;
  return create(HelloSchema, {
    held,
    maxInFlight,
    features: [...features],
    instanceId,
    client,
    ...(report === undefined ? {} : { report }),
  });
}
