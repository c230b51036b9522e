import { create } from '@bufbuild/protobuf';
import { ReportSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type OpenSessionRequest,
  OpenSessionRequestSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { reportOf } from '../../src/supervisor/report.ts';

/** The heartbeat that tells of a program that ended with these last lines. */
export function reportFrame(lines: string[]): OpenSessionRequest {
  const exit = { start: 1, exitCode: 1, signal: '', ranMs: 10, requested: false, lines };
  const { activity, process } = reportOf(
    { phase: 'backoff', pid: 0, starts: 1, exits: [exit], restartInMs: 5, hold: undefined },
    undefined,
  );
  const report = create(ReportSchema, { activity: activity ?? '', ...(process ? { process } : {}) });
  return create(OpenSessionRequestSchema, { frame: { case: 'heartbeat', value: { report } as never } });
}
