import { ConnectError } from '@connectrpc/connect';
import { Command, CommanderError } from 'commander';
import { packageVersion } from '../lib/version.ts';
import { addAgentCommands } from './commands/agents.ts';
import { addAlertCommands } from './commands/alerts.ts';
import { addAutomationCommands } from './commands/automation.ts';
import { addCompletionCommands } from './commands/completion.ts';
import { addConfigCommands } from './commands/config.ts';
import { addDeadLetterCommands } from './commands/dead-letters.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addEventsCommand } from './commands/events.ts';
import { addLinkCommands } from './commands/links.ts';
import { addLockCommands } from './commands/locks.ts';
import { addLossCommands } from './commands/losses.ts';
import { addMessageCommands } from './commands/messages.ts';
import { addMetricCommands } from './commands/metrics.ts';
import { addOperationCommands } from './commands/operations.ts';
import { addReportCommand } from './commands/report.ts';
import { addResourceCommands } from './commands/resources.ts';
import { addServeCommand } from './commands/serve.ts';
import { addSilenceCommands } from './commands/silences.ts';
import { addStateCommands } from './commands/state.ts';
import { addStatusCommand } from './commands/status.ts';
import { addStoreCommands } from './commands/store.ts';
import { addSuperviseCommand } from './commands/supervise.ts';
import { addTaskCommands } from './commands/tasks.ts';
import { addTopCommand } from './commands/top.ts';
import { addTopologyCommand } from './commands/topology.ts';
import { addGlobalOptions, type Context, colourChoice, createContext, type Runner } from './context.ts';
import { type ExitCode, exitCodes, reportError } from './errors.ts';
import { type CliIo, styleOf } from './io.ts';
import { renderLine } from './output/text.ts';

/** Parses, runs, releases. Resolves to the exit code; never rejects for what a user or a service did. */
export async function runCli(io: CliIo): Promise<ExitCode> {
  const program = new Command('orchestrator');
  let exitCode: ExitCode = exitCodes.ok;
  let context: Context | undefined;
  const run: Runner = async (command, work) => {
    context = createContext(command, io);
    exitCode = (await work(context)) ?? exitCodes.ok;
  };
  program
    .description('Operates a fleet of agents through the orchestrator service.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help of a command')
    .showHelpAfterError('(--help says what is possible)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => io.stdout.columns ?? 80,
      getErrHelpWidth: () => io.stderr.columns ?? 80,
    })
    .exitOverride();
  addGlobalOptions(program);
  addStatusCommand(program, run);
  addTopCommand(program, run);
  addAgentCommands(program, run);
  addEventsCommand(program, run);
  addAlertCommands(program, run);
  addSilenceCommands(program, run);
  addMetricCommands(program, run);
  addTopologyCommand(program, run);
  addReportCommand(program, run);
  addDoctorCommand(program, run);
  addMessageCommands(program, run);
  addDeadLetterCommands(program, run);
  addLinkCommands(program, run);
  addTaskCommands(program, run);
  addResourceCommands(program, run);
  addOperationCommands(program, run);
  addStateCommands(program, run);
  addLockCommands(program, run);
  addLossCommands(program, run);
  addAutomationCommands(program, run);
  addConfigCommands(program, run);
  const exit = (code: ExitCode) => {
    exitCode = code;
  };
  addStoreCommands(program, run);
  addServeCommand(program, io, exit);
  addSuperviseCommand(program, io, exit);
  addCompletionCommands(program, run);
  try {
    await program.parseAsync([...io.argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    if (context?.signal.aborted === true && error instanceof ConnectError) return exitCodes.interrupted;
    const report = reportError(error, context?.connection.address);
    const style = styleOf(io.stderr, io.env, colourChoice(program));
    for (const line of report.lines)
      io.stderr.write(`${renderLine(line, { ...style, columns: undefined })}\n`);
    return report.exitCode;
  } finally {
    context?.connection.close();
  }
}
