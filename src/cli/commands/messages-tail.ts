import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import {
  type MessageTrace_Step,
  MessageTrace_StepSchema,
  WatchMessagesResponseSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { exitCodes } from '../errors.ts';
import { enumChoices, enumValue } from '../output/names.ts';
import { dim, good, plain, warn } from '../output/text.ts';
import { traceLine } from '../output/trace-lines.ts';
import { collectList } from '../parse.ts';
import { runWatch, watchNotices } from '../watch.ts';

interface TailOptions {
  agent?: string[];
  from?: string[];
  to?: string[];
  type?: string[];
  topic?: string[];
  step?: MessageTrace_Step[];
  data?: boolean;
}

/** `messages tail` */
export function addTailCommand(messages: Command, run: Runner): void {
  messages
    .command('tail')
    .description('follow the traffic: each step of each message, as it happens, at all replicas')
    .option('--agent <id>', 'only from or to this agent; may be repeated, as all of these', collectList)
    .option('--from <source>', 'only from this sender', collectList)
    .option('--to <id>', 'only to this agent', collectList)
    .option('--type <type>', 'only of this type; a prefix ends in *', collectList)
    .option('--topic <topic>', 'only sent to this topic; a prefix ends in .*', collectList)
    .option(
      '--step <step>',
      `only these steps: ${enumChoices(MessageTrace_StepSchema).join(', ')}`,
      collectSteps,
    )
    .option('--data', 'with the payload, where a message is stored')
    .addHelpText(
      'after',
      `
Examples:
  orchestrator messages tail --agent sum-1
  orchestrator messages tail --topic 'jobs.*' --step dead_letter,declined,failed -o json

It begins now: what was before, or while the connection was lost, is not told.`,
    )
    .action((options: TailOptions, command: Command) => run(command, (context) => tail(context, options)));
}

function collectSteps(text: string, before: MessageTrace_Step[] | undefined): MessageTrace_Step[] {
  const steps = collectList(text, undefined).map((name) => {
    const step = enumValue(MessageTrace_StepSchema, name);
    if (step === undefined)
      throw new InvalidArgumentError(`one of ${enumChoices(MessageTrace_StepSchema).join(', ')}.`);
    return step as MessageTrace_Step;
  });
  return [...(before ?? []), ...steps];
}

async function tail(context: Context, options: TailOptions): Promise<number> {
  const { connection, namespace, signal, timeoutMs } = context;
  const json = context.format === 'json';
  let began = false;
  const request = {
    namespace,
    agentIds: options.agent ?? [],
    senders: options.from ?? [],
    receivers: options.to ?? [],
    types: options.type ?? [],
    topics: options.topic ?? [],
    steps: options.step ?? [],
    withData: options.data === true,
  };
  await runWatch({
    open: (_cursor, stop) => connection.messages.watchMessages(request, { signal: stop }),
    // It has no cursor; this says that a broken one is opened again.
    cursorOf: () => 'now',
    receive: (response) => {
      if (json) return context.json(WatchMessagesResponseSchema, response, 'line');
      if (!began) context.note([dim('following the traffic from now on')]);
      began = true;
      for (const trace of response.traces) context.say(traceLine(trace));
    },
    ...watchNotices(context),
    resumed: () => context.note([good('connected again; '), plain('steps meanwhile are not told')]),
    restart: () => context.note([warn('the store was read anew: '), plain('steps meanwhile are not told')]),
    signal,
    firstWithinMs: timeoutMs,
  });
  return exitCodes.interrupted;
}
