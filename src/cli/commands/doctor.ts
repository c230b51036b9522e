import type { Command } from 'commander';
import { DiagnoseResponseSchema } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { type ExitCode, exitCodes } from '../errors.ts';
import { isTrouble, renderDiagnosis } from '../output/diagnosis.ts';
import { collectList } from '../parse.ts';

interface DoctorOptions {
  check?: string[];
  quiet?: boolean;
}

/** A diagnosis takes longer than other calls: it waits for what may be on its way. */
const usualTimeoutMs = 30_000;

export function addDoctorCommand(program: Command, run: Runner): void {
  program
    .command('doctor')
    .description(
      'walks the five debugging steps and says what is wrong, from what that is known, and what to do',
    )
    .option(
      '--check <id>',
      "only these checks, by id; 'agent_management.*' means all that begin so",
      collectList,
    )
    .option('--quiet', 'leave out what is well')
    .addHelpText(
      'after',
      '\nLooks at all namespaces, or at the one that --namespace names. Ends with code 1 if anything is worse than INFO.\nThe checks and codes are in docs/diagnosis.md.',
    )
    .action((options: DoctorOptions, command: Command) =>
      run(command, (context) => diagnose(context, options)),
    );
}

async function diagnose(context: Context, options: DoctorOptions): Promise<ExitCode> {
  const { connection, namespace, signal, timeoutMs, timeoutGiven, format } = context;
  const response = await connection.monitoring.diagnose(
    { namespace, checks: options.check ?? [] },
    { signal, timeoutMs: timeoutGiven ? timeoutMs : usualTimeoutMs },
  );
  if (format === 'json') context.json(DiagnoseResponseSchema, response, 'document');
  else context.print(renderDiagnosis(response, context.style, options.quiet === true));
  return isTrouble(response.severity) ? exitCodes.failed : exitCodes.ok;
}
