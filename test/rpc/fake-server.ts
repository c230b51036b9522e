import { createHealth } from '../../src/rpc/health.ts';
import { createReflection } from '../../src/rpc/reflection.ts';
import type { ServiceBinding } from '../../src/rpc/service.ts';
import { fakeAgentService, fakeSessionService } from './fakes.ts';

/** All that a replica mounts: fake services, health and reflection over them. */
export function fakeServer(gate: (bindings: ServiceBinding[]) => ServiceBinding[] = (bindings) => bindings) {
  const agents = fakeAgentService();
  const sessions = fakeSessionService({ echo: true });
  const main = [...gate([agents.binding]), sessions.binding];
  const health = createHealth(main);
  const services = [...main, health.binding];
  return { agents, sessions, health, services: [...services, ...createReflection(services)] };
}
