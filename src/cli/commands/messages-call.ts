import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, Option } from 'commander';
import {
  type CallAgentResponse,
  CallAgentResponseSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { CallProgress } from '../call-progress.ts';
import type { Context, Runner } from '../context.ts';
import { type MessageOptions, messageOf, messageOptions } from '../message-options.ts';
import { plain } from '../output/text.ts';
import { parsePositiveDuration } from '../parse.ts';
import { payloadContent } from '../payload.ts';

interface CallOptions extends MessageOptions {
  wait: number;
  idempotent?: boolean;
}

/** The way to the service and back takes so much longer than the call itself, at most. */
const WAY_MS = 5_000;

/** `messages call` */
export function addCallCommand(messages: Command, run: Runner): void {
  messageOptions(
    messages.command('call').description('call an agent, show how far that is, and print its answer'),
    false,
  )
    .addOption(
      new Option('--wait <duration>', 'how long to wait for the answer, 100ms to 1h')
        .argParser(parsePositiveDuration)
        .default(30_000, '30s'),
    )
    .option('--idempotent', 'it may run twice: another agent gets it when the first one is lost')
    .addHelpText(
      'after',
      `
Examples:
  orchestrator messages call --to-agent sum-1 --type sum --json --data '[1, 2, 3]'
  orchestrator messages call --to-capability summarize --type summarize --data @report.txt --wait 5m > summary.txt

The answer goes to stdout as it is, how far the call is to stderr. Ctrl-C takes the call back.
Codes: 1: no answer in time, or who had it is lost; 3: nobody is there to be called; 4: the agent declined or failed.`,
    )
    .action((options: CallOptions, command: Command) =>
      run(command, (context) => callAgent(context, options)),
    );
}

async function callAgent(context: Context, options: CallOptions): Promise<void> {
  const { connection, namespace, signal } = context;
  const { send, id, source } = await messageOf(context, options);
  const { wait, idempotent = false } = options;
  const progress = new CallProgress({ context, messageId: id, source, type: options.type });
  let response: CallAgentResponse;
  try {
    await progress.begin();
    response = await connection.messages.callAgent(
      { namespace, send, idempotent, timeout: durationFromMs(wait) },
      { signal, timeoutMs: wait + WAY_MS },
    );
    progress.answered(response);
  } finally {
    await progress.end();
  }
  if (context.format === 'json') return context.json(CallAgentResponseSchema, response, 'document');
  write(context, response);
}

/** As it is for a program; on a terminal others' bytes are shown escaped, as everywhere. */
function write({ io, say }: Context, { output }: CallAgentResponse): void {
  const content = payloadContent(output);
  if (io.stdout.isTTY !== true) io.stdout.write(content);
  else if (content.length > 0)
    say([plain(typeof content === 'string' ? content : Buffer.from(content).toString('base64'))]);
}
