import { create } from '@bufbuild/protobuf';
import { ReportSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { Session } from '../../../../src/domain/agent/session.ts';
import { createFigures } from '../../../../src/domain/monitoring/figures/create-figures.ts';
import { silentLogger } from '../../../../src/lib/logger.ts';
import { startFleet, type TestFleet, type TestFleetOptions } from '../../agent/fleet-fixture.ts';

export const { FLEET, ZONE, AGENT, REPLICA, SERVICE } = MetricScope;

/** A fleet as the service wires it, with its figures. */
export async function startFigures(
  options: TestFleetOptions & {
    others?: () => boolean;
    alive?: (id: string) => boolean;
    pooled?: (namespace: string) => void;
  } = {},
) {
  const warnings: unknown[] = [];
  let made: ReturnType<typeof createFigures> | undefined;
  const fleet: TestFleet = await startFleet({
    ...options,
    beforeStart: (built) => {
      made = createFigures({
        store: built.store,
        clock: built.clock,
        log: { ...silentLogger, warn: (fields) => warnings.push(fields) },
        replicaId: options.replicaId ?? 'replica-1',
        ...{ context: built.context, sessions: built.sessions, directory: built.directory },
        ...{ observations: built.observations, verdicts: built.verdicts, mailboxes: built.mailboxes },
        tasks: built.tasks.view,
        pool: (namespace) => {
          options.pooled?.(namespace);
          return built.tasks.scheduling.ledger(namespace).pool;
        },
        waiting: (namespace) => built.tasks.scheduling.scheduler(namespace).waiting.all(),
        storeMs: () => built.clock.wallMs(),
        replicas: {
          isAlive: options.alive ?? (() => true),
          measured: () => [],
          hasOthers: options.others ?? (() => false),
        },
      });
      const { measuring } = made;
      built.views.add(made.view);
      built.context.measuring = {
        heard: (session, _rttMs, nowMs) => measuring.heard(session, nowMs),
        ended: (session) => measuring.ended(session),
      };
    },
  });
  if (made === undefined) throw new Error('the fixture did not call beforeStart');
  const { figures, ...rest } = made;
  return {
    fleet,
    figures,
    ...rest,
    warnings,
    /** Each reading of a metric, by id and resource. */
    values: (metric: string, scope: MetricScope, namespace = 'default'): Record<string, number | undefined> =>
      Object.fromEntries(
        [...figures.each(namespace, metric, scope)].map(({ id, resource, value }) => [
          [id, resource].filter((part) => part !== '').join('/'),
          value,
        ]),
      ),
  };
}

/** An agent says how loaded it is, and what it uses. */
export function report(session: Session, load: number | undefined, usage: Record<string, bigint> = {}): void {
  session.heartbeat(
    0,
    0,
    undefined,
    create(ReportSchema, { ...(load === undefined ? {} : { load }), usage }),
  );
}
