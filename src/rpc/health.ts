import { create } from '@bufbuild/protobuf';
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../gen/health/v1/health_pb.ts';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../lib/errors.ts';
import { bindService, type ServiceBinding } from './service.ts';

export interface HealthReporter {
  /** The grpc.health.v1 service, for both listeners. */
  readonly binding: ServiceBinding;
  /** Whether this replica takes calls: false while it starts and once it leaves. Told to every watcher. */
  setServing(serving: boolean): void;
}

/**
 * The standard health service over one state: "" is the replica, and each service has its name. Services that are
 * turned off are always NOT_SERVING. It says whether calls are taken, not how the fleet or the store is.
 */
export function createHealth(services: readonly ServiceBinding[]): HealthReporter {
  const statuses = new Map<string, ServingStatus>();
  const gated = new Set(
    services.filter((binding) => binding.gated === true).map(({ service }) => service.typeName),
  );
  for (const name of ['', ...services.map(({ service }) => service.typeName)]) {
    statuses.set(name, ServingStatus.NOT_SERVING);
  }
  const watchers = new Set<() => void>();
  const response = (name: string): HealthCheckResponse =>
    create(HealthCheckResponseSchema, { status: statuses.get(name) ?? ServingStatus.SERVICE_UNKNOWN });

  const binding = bindService(Health, {
    async check({ service }) {
      if (!statuses.has(service)) {
        throw new DomainError({
          reason: ErrorReason.SERVICE_UNKNOWN,
          message: `this server has no service "${service.slice(0, 200)}"`,
        });
      }
      return response(service);
    },
    async *watch({ service }, { signal }) {
      let told: ServingStatus | undefined;
      while (!signal.aborted) {
        const current = response(service);
        if (current.status !== told) {
          told = current.status;
          yield current;
          continue;
        }
        await changed(watchers, signal);
      }
    },
    async list() {
      const all = [...statuses.keys()].map((name) => [name, response(name)] as const);
      return create(HealthListResponseSchema, { statuses: Object.fromEntries(all) });
    },
  });

  return {
    binding,
    setServing(serving) {
      const status = serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
      for (const name of statuses.keys()) {
        statuses.set(name, gated.has(name) ? ServingStatus.NOT_SERVING : status);
      }
      for (const wake of [...watchers]) wake();
    },
  };
}

/** Resolves at the next change, or when the watcher is gone. */
function changed(watchers: Set<() => void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      watchers.delete(settle);
      signal.removeEventListener('abort', settle);
      resolve();
    };
    watchers.add(settle);
    signal.addEventListener('abort', settle);
  });
}
