import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { SetAutomationResponseSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  GetSystemStatusResponseSchema,
  type SystemStatus,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError } from '../errors.ts';
import { heldLines } from '../output/brakes.ts';
import { dim, good, plain, renderLine, strong, warn } from '../output/text.ts';
import { formatMs, timestampMs } from '../output/time.ts';
import { parsePositiveDuration } from '../parse.ts';
import { withRequestId } from '../request-id.ts';

interface SetOptions {
  reason?: string;
  for?: number;
  requestId?: string;
}

/** `automation status|freeze|enable` */
export function addAutomationCommands(program: Command, run: Runner): void {
  const automation = program
    .command('automation')
    .description('what is done about failures without anybody asking: hold it, let it go on');

  automation
    .command('status')
    .description('whether automatic action is taken, and what holds it')
    .addHelpText('after', '\nExample:\n  orchestrator automation status -n lab')
    .action((_options: unknown, command: Command) => run(command, showAutomation));

  automation
    .command('freeze')
    .description('no automatic action on agents of the namespace; they are still judged and shown')
    .requiredOption('--reason <text>', 'why, for the event and the status')
    .option(
      '--for <duration>',
      'goes on by itself after it; absent: once it is enabled',
      parsePositiveDuration,
    )
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText(
      'after',
      `
Example:
  orchestrator automation freeze --for 1h --reason 'network maintenance'

It holds the release of lost agents' work, restarts, quarantines and forgetting. Orders that people give are carried out.`,
    )
    .action((options: SetOptions, command: Command) =>
      run(command, (context) => setAutomation(context, false, options)),
    );

  automation
    .command('enable')
    .description('automatic action goes on')
    .option('--reason <text>', 'why, for the event')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText('after', "\nExample:\n  orchestrator automation enable --reason 'maintenance is over'")
    .action((options: SetOptions, command: Command) =>
      run(command, (context) => setAutomation(context, true, options)),
    );
}

async function setAutomation(context: Context, enabled: boolean, options: SetOptions): Promise<void> {
  const { connection, namespace, call } = context;
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.agents.setAutomation(
      {
        namespace,
        enabled,
        reason: options.reason ?? '',
        requestId,
        ...(options.for === undefined ? {} : { duration: durationFromMs(options.for) }),
      },
      call,
    ),
  );
  if (context.format === 'json') return context.json(SetAutomationResponseSchema, response, 'document');
  const until = options.for === undefined ? 'until it is enabled' : `for ${formatMs(options.for)}`;
  context.say([
    response.enabled ? good('enabled') : warn('frozen'),
    plain(response.enabled ? ': automatic action goes on in ' : `: no automatic action ${until} in `),
    strong(namespace || 'default'),
    dim(` at revision ${response.revision}`),
  ]);
}

async function showAutomation(context: Context): Promise<void> {
  const { connection, namespace, call } = context;
  const response = await connection.monitoring.getSystemStatus({ namespace }, call);
  const { status } = response;
  if (context.format === 'json') return context.json(GetSystemStatusResponseSchema, response, 'document');
  if (status === undefined) throw new CommandError('the service answered without a status');
  const lines = heldLines(status, nowOf(status));
  if (lines.length === 0) {
    const where = namespace === '' ? 'every namespace' : namespace;
    context.say([good('on'), plain(`: automatic action is taken in ${where}, and nothing is held back`)]);
  }
  context.print(lines.map((line) => renderLine(line, context.style)));
}

function nowOf({ time }: SystemStatus): number {
  return time === undefined ? Date.now() : timestampMs(time);
}
