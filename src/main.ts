import { runService } from './run.ts';

process.exitCode = await runService({ argv: process.argv.slice(2), env: process.env });
