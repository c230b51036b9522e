// How each state of the API is shown: one place, so that a state looks the same on every page.
import {
  Agent_Liveness as Liveness,
  Agent_Phase as Phase,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Operation_State } from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { Task_State } from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  AlertSeverity,
  Alert_State as AlertState,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  Event_Severity as EventSeverity,
  ServiceStatus_State as ServiceState,
  SystemStatus_State as SystemState,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { State, Tone } from './badge.tsx';
import type { Mark } from './shape.tsx';

const state = (tone: Tone, mark: Mark, word: string): State => ({ tone, mark, word });
const unknown = state('idle', 'ring', 'unknown');

function table(states: Readonly<Record<number, State>>): (value: number | undefined) => State {
  return (value) => (value === undefined ? unknown : (states[value] ?? unknown));
}

export const livenessState = table({
  [Liveness.NEVER_SEEN]: state('idle', 'ring', 'never seen'),
  [Liveness.CONNECTED]: state('ok', 'dot', 'connected'),
  [Liveness.SUSPECT]: state('warn', 'half', 'suspect'),
  [Liveness.DISCONNECTED]: state('warn', 'broken', 'disconnected'),
  [Liveness.LOST]: state('bad', 'cross', 'lost'),
  [Liveness.LEFT]: state('idle', 'dash', 'left'),
});

export const phaseState = table({
  [Phase.REGISTERED]: state('idle', 'ring', 'registered'),
  [Phase.ACTIVE]: state('ok', 'play', 'active'),
  [Phase.DRAINING]: state('info', 'half', 'draining'),
  [Phase.DRAINED]: state('info', 'pause', 'drained'),
  [Phase.QUARANTINED]: state('bad', 'diamond', 'quarantined'),
  [Phase.STOPPED]: state('idle', 'square', 'stopped'),
});

export const systemState = table({
  [SystemState.OK]: state('ok', 'check', 'OK'),
  [SystemState.DEGRADED]: state('warn', 'triangle', 'Degraded'),
  [SystemState.CRITICAL]: state('bad', 'cross', 'Critical'),
});

export const alertState = table({
  [AlertState.PENDING]: state('info', 'clock', 'pending'),
  [AlertState.FIRING]: state('bad', 'triangle', 'firing'),
  [AlertState.ACKNOWLEDGED]: state('warn', 'half', 'acknowledged'),
  [AlertState.RESOLVED]: state('ok', 'check', 'resolved'),
});

export const alertSeverity = table({
  [AlertSeverity.INFO]: state('info', 'dot', 'info'),
  [AlertSeverity.WARNING]: state('warn', 'triangle', 'warning'),
  [AlertSeverity.CRITICAL]: state('bad', 'diamond', 'critical'),
});

export const eventSeverity = table({
  [EventSeverity.INFO]: state('idle', 'ring', 'info'),
  [EventSeverity.WARNING]: state('warn', 'triangle', 'warning'),
  [EventSeverity.ERROR]: state('bad', 'cross', 'error'),
});

export const serviceState = table({
  [ServiceState.OK]: state('ok', 'dot', 'OK'),
  [ServiceState.SLOW]: state('warn', 'half', 'slow'),
  [ServiceState.DOWN]: state('bad', 'cross', 'down'),
  [ServiceState.STALE]: state('warn', 'broken', 'nobody asks'),
});

export const taskState = table({
  [Task_State.PENDING]: state('info', 'clock', 'pending'),
  [Task_State.ASSIGNED]: state('info', 'half', 'assigned'),
  [Task_State.RUNNING]: state('ok', 'play', 'running'),
  [Task_State.SUCCEEDED]: state('ok', 'check', 'succeeded'),
  [Task_State.FAILED]: state('bad', 'cross', 'failed'),
  [Task_State.CANCELLED]: state('idle', 'dash', 'cancelled'),
  [Task_State.TIMED_OUT]: state('bad', 'clock', 'timed out'),
});

export const operationState = table({
  [Operation_State.RUNNING]: state('ok', 'play', 'running'),
  [Operation_State.PAUSED]: state('info', 'pause', 'paused'),
  [Operation_State.STOPPED]: state('bad', 'square', 'stopped itself'),
  [Operation_State.SUCCEEDED]: state('ok', 'check', 'succeeded'),
  [Operation_State.COMPLETED_WITH_ERRORS]: state('warn', 'triangle', 'done with errors'),
  [Operation_State.CANCELLED]: state('idle', 'dash', 'cancelled'),
});
