import { create } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import {
  DeadLetterSchema,
  type ListDeadLettersResponse,
  ListDeadLettersResponseSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { exitCodes } from '../errors.ts';
import { deadLetterCells, deadLetterColumns, renderDeadLetter } from '../output/dead-letter-cells.ts';
import { renderTable } from '../output/table.ts';
import { bad, dim, plain } from '../output/text.ts';
import { collectList, parseCount } from '../parse.ts';
import { type DeadLetterFilter, deadLetters } from '../read-dead-letters.ts';
import { type RedriveOptions, redrive } from '../redrive.ts';

interface ListOptions extends DeadLetterFilter {
  limit?: number;
}

/** `dead-letters list|show|redrive` */
export function addDeadLetterCommands(program: Command, run: Runner): void {
  const letters = program
    .command('dead-letters')
    .alias('dead-letter')
    .description('messages that could not be delivered, each with its reason');

  letters
    .command('list')
    .alias('ls')
    .description('dead letters by agent')
    .option('--agent <agent>', 'only those of this agent')
    .option(
      '--reason <reason>',
      'only of these reasons: declined, expired, tries, mailbox_full…',
      collectList,
    )
    .option('--limit <count>', 'at most so many', parseCount(1, 1_000_000))
    .action((filter: ListOptions, command: Command) =>
      run(command, (context) => listLetters(context, filter)),
    );

  letters
    .command('show')
    .description('one dead letter: what it was, and what became of it')
    .argument('<delivery>', 'its delivery id')
    .option('--agent <agent>', 'whose it is, where that is known: it is found sooner')
    .action((deliveryId: string, { agent }: DeadLetterFilter, command: Command) =>
      run(command, (context) => showLetter(context, deliveryId, agent)),
    );

  letters
    .command('redrive')
    .description('put dead letters back, as new deliveries')
    .argument('[delivery...]', 'their delivery ids')
    .option('--agent <agent>', 'those of this agent: all of them, or those named')
    .option('--reason <reason>', 'of all, only those of these reasons', collectList)
    .option('--all', 'all of the namespace')
    .option('--to-agent <agent>', 'to this agent instead of the one that they were for')
    .option('-y, --yes', 'without asking, for --all')
    .option('--request-id <id>', 'makes a repeat of the same command with delivery ids safe')
    .addHelpText(
      'after',
      `
Examples:
  orchestrator dead-letters redrive msg1-0198a1b2-6f0c1d2e3f40
  orchestrator dead-letters redrive --agent sum-1 --to-agent sum-2
  orchestrator dead-letters redrive --all --reason expired --yes

Those that are there when it begins are put back, 256 at a time. Code 3: one of those named is not there.`,
    )
    .action((deliveryIds: string[], options: RedriveOptions, command: Command) =>
      run(command, (context) => redrive(context, deliveryIds, options)),
    );
}

async function listLetters(context: Context, filter: ListOptions): Promise<void> {
  const { limit = Number.POSITIVE_INFINITY } = filter;
  const all: ListDeadLettersResponse = create(ListDeadLettersResponseSchema);
  let more = false;
  for await (const letter of deadLetters(context, filter)) {
    more = all.deadLetters.length >= limit;
    if (more) break;
    all.deadLetters.push(letter);
  }
  if (context.format === 'json') return context.json(ListDeadLettersResponseSchema, all, 'document');
  if (all.deadLetters.length === 0) return context.note([dim('no dead letters')]);
  const nowMs = Date.now();
  const rows = all.deadLetters.map((letter) => deadLetterCells(letter, nowMs));
  context.print(renderTable(deadLetterColumns, rows, context.style));
  if (more) context.note([dim('there are more: raise --limit')]);
}

async function showLetter(
  context: Context,
  deliveryId: string,
  agent: string | undefined,
): Promise<number | undefined> {
  for await (const letter of deadLetters(context, agent === undefined ? {} : { agent })) {
    if (letter.delivery?.work?.deliveryId !== deliveryId) continue;
    if (context.format === 'json') context.json(DeadLetterSchema, letter, 'document');
    else context.print(renderDeadLetter(letter, context.style, Date.now()));
    return undefined;
  }
  context.note([bad('error: '), plain(`there is no dead letter ${deliveryId}`)]);
  return exitCodes.notFound;
}
