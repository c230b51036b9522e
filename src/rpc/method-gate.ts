import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { Capability } from '../config/config.ts';
import { DomainError } from '../lib/errors.ts';
import type { Handler, ServiceBinding } from './service.ts';

/** The services that each part of the orchestrator serves. */
export type ServicesByCapability = Partial<Record<Capability, readonly ServiceBinding[]>>;

/** All services; those of parts that this replica is configured without refuse every call with CAPABILITY_DISABLED. */
export function gateServices(
  capabilities: readonly Capability[],
  services: ServicesByCapability,
): ServiceBinding[] {
  return (Object.keys(services) as Capability[]).flatMap((capability) => {
    const bindings = services[capability] ?? [];
    if (capabilities.includes(capability)) return [...bindings];
    return bindings.map((binding) => ({
      ...binding,
      gated: true,
      handlers: binding.handlers.map((handler) => refusing(handler, capability)),
    }));
  });
}

function refusing(handler: Handler, capability: Capability): Handler {
  const refuse = (): never => {
    throw new DomainError({
      reason: ErrorReason.CAPABILITY_DISABLED,
      message: `this replica is configured without ${capability} (the key "capabilities")`,
    });
  };
  const { method } = handler;
  switch (handler.kind) {
    case 'unary':
      return { kind: 'unary', method, handle: async () => refuse() };
    case 'server_stream':
      return { kind: 'server_stream', method, handle: refuse };
    case 'session':
      return { kind: 'session', method, handle: refuse };
    case 'bidi':
      return { kind: 'bidi', method, handle: refuse };
  }
}
