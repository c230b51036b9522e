import { expect, test } from 'vitest';
import { startCli } from '../support/run-cli.ts';

test.each([
  [['--tasks', 'stdin'], '--tasks needs a --capability'],
  [['--slots', '2'], '--slots needs --tasks stdin'],
  [['--tasks', 'file', '--capability', 'echo'], 'stdin'],
  [['--tasks', 'stdin', '--capability', 'echo', '--slots', '0'], '1'],
  [['--tasks', 'stdin', '--capability', 'echo', '--slots', '2', '--capacity', 'slots=3'], 'give one'],
])('a program cannot be handed tasks with %j', async (options, problem) => {
  const run = startCli(['supervise', ...options, '--', 'true']);
  expect(await run.ended).toBe(2);
  expect(run.stderr).toContain(problem);
});
