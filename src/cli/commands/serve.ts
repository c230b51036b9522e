import type { Command } from 'commander';
import type { CliIo } from '../io.ts';

/** `serve`: the one command that is the service instead of talking to it. */
export function addServeCommand(program: Command, io: CliIo, exit: (code: number) => void): void {
  program
    .command('serve')
    .description('run the service in the foreground')
    .usage('[--config <file>] [--<key>=<value>...]')
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText(
      'after',
      [
        '',
        'Every configuration key is a flag, for example:',
        '  orchestrator serve --config orchestrator.yaml --grpc.listen=127.0.0.1:50051 --session.lease=30s',
        'docs/configuration.md lists the keys. A faulty configuration ends with code 2.',
      ].join('\n'),
    )
    .action(async (_options: unknown, command: Command) => {
      const { runService } = await import('../../run.ts');
      exit(await runService({ argv: [...command.args], env: { ...io.env } }));
    });
}
