import { FleetOperationService } from '../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { OperationReader } from '../domain/coordination/operations/operation-reader.ts';
import { watchOperation } from '../domain/coordination/operations/operation-watch.ts';
import type { Operations } from '../domain/coordination/operations/operations.ts';
import type { StartOperation } from '../domain/coordination/operations/start-operation.ts';
import type { Store } from '../state/store.ts';
import type { Views } from '../state/views.ts';
import { callerOf } from './caller.ts';
import { revisionWait } from './revision-wait.ts';
import { bindService, type ServiceBinding } from './service.ts';

export interface FleetOperationServiceOptions {
  start: StartOperation;
  operations: Operations;
  reader: OperationReader;
  store: Store;
  views: Views;
}

export function createFleetOperationService(options: FleetOperationServiceOptions): ServiceBinding {
  const { start, operations, reader, store, views } = options;
  const seen = revisionWait(views);
  return bindService(FleetOperationService, {
    startOperation: (request, context) => start.start(request, callerOf(context), context.trace()),
    getOperation: (request) => reader.get(request),
    listOperations: async (request, context) => {
      await seen(request, context);
      return reader.list(request);
    },
    watchOperation: (request, context) => watchOperation(request, context.signal, { store, views, reader }),
    pauseOperation: (request, context) => operations.pause(request, callerOf(context)),
    resumeOperation: (request, context) => operations.resume(request, callerOf(context)),
    cancelOperation: (request, context) => operations.cancel(request, callerOf(context)),
  });
}
