import { StateService } from '../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import type { SharedState } from '../domain/coordination/state/shared-state.ts';
import { type StateWatchOptions, watchState } from '../domain/coordination/state/state-watch.ts';
import { callerOf } from './caller.ts';
import { revisionWait } from './revision-wait.ts';
import { bindService, type ServiceBinding } from './service.ts';

export interface StateServiceOptions {
  state: SharedState;
  watch: StateWatchOptions;
}

export function createStateService({ state, watch }: StateServiceOptions): ServiceBinding {
  const seen = revisionWait(watch.views);
  return bindService(StateService, {
    getState: (request) => state.get(request),
    listState: async (request, context) => {
      await seen(request, context);
      return state.list(request);
    },
    commitState: (request, context) => state.commit(request, callerOf(context)),
    watchState: (request, context) => watchState(request, context.signal, watch),
  });
}
