import { create } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import {
  type GetConfigResponse,
  GetConfigResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { type ExitCode, exitCodes } from '../errors.ts';
import { renderTable } from '../output/table.ts';
import { bad, dim, good, plain, strong } from '../output/text.ts';

/** `config check|show` */
export function addConfigCommands(program: Command, run: Runner): void {
  const config = program
    .command('config')
    .description('the configuration: check a file, show what is in force');

  config
    .command('check')
    .description('whether the service would start with this configuration; all mistakes at once')
    .argument('[file]', 'a YAML file; absent: ORCHESTRATOR_CONFIG, or the environment alone')
    .addHelpText(
      'after',
      '\nReads the file and ORCHESTRATOR_… variables as serve does. A mistake ends with code 2.',
    )
    .action((file: string | undefined, _options: unknown, command: Command) =>
      run(command, (context) => checkConfig(context, file)),
    );

  config
    .command('show')
    .description('the configuration that the service runs with, secrets blanked, and where it came from')
    .action((_options: unknown, command: Command) =>
      run(command, async (context) => {
        const response = await context.connection.monitoring.getConfig({}, context.call);
        if (context.format === 'json') context.json(GetConfigResponseSchema, response, 'document');
        else showConfig(context, response, 'all');
      }),
    );
}

async function checkConfig(context: Context, file: string | undefined): Promise<ExitCode> {
  const [{ loadConfig }, { ConfigError, formatConfigError }, { describeConfig }] = await Promise.all([
    import('../../config/load.ts'),
    import('../../config/errors.ts'),
    import('../../config/describe.ts'),
  ]);
  try {
    const { config, sources } = loadConfig({ file, env: { ...context.io.env }, flags: {} });
    const described = create(GetConfigResponseSchema, describeConfig(config, sources));
    if (context.format === 'json') {
      context.json(GetConfigResponseSchema, described, 'document');
      return exitCodes.ok;
    }
    context.say([good('ok'), plain(`  ${file ?? context.io.env.ORCHESTRATOR_CONFIG ?? 'no file'}`)]);
    showConfig(context, described, context.format === 'wide' ? 'all' : 'set');
    return exitCodes.ok;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    context.note([bad('error: '), plain(error.message)]);
    for (const line of formatConfigError(error).split('\n')) context.note([plain(`  ${line}`)]);
    return exitCodes.usage;
  }
}

/** Keys with their values; `set`: only those that are not defaults. */
function showConfig(context: Context, { config, sources }: GetConfigResponse, which: 'all' | 'set'): void {
  const rows = flatten(config ?? {}, '')
    .filter(([key]) => which === 'all' || sources[key] !== undefined)
    .map(([key, value]) => [strong(key), plain(value), dim(sources[key] ?? 'default')]);
  if (rows.length === 0) return;
  const columns = [{ title: 'KEY' }, { title: 'VALUE', shrinkTo: 16 }, { title: 'FROM', shrinkTo: 12 }];
  context.print(renderTable(columns, rows, context.style));
}

function flatten(value: unknown, path: string): [string, string][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([name, inner]) =>
      flatten(inner, path === '' ? name : `${path}.${name}`),
    );
  }
  return [[path, Array.isArray(value) ? value.map(String).join(', ') : String(value)]];
}
