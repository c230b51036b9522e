import { Task_State as State } from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';

export const OPEN_STATES: readonly State[] = [State.RUNNING, State.ASSIGNED, State.PENDING];

export const hasEnded = (state: State): boolean => !OPEN_STATES.includes(state);
