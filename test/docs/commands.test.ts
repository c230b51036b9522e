import { describe, expect, it } from 'vitest';
import { envName, flagName } from '../../src/config/key.ts';
import { KEYS } from '../../src/config/schema.ts';
import { startCli } from '../support/run-cli.ts';
import { blocks, pages, quoted } from './pages.ts';

/** Commands with commands of their own. */
const GROUPS = new Set([
  'alerts',
  'silences',
  'metrics',
  'agents',
  'agent',
  'automation',
  'config',
  'store',
  'losses',
  'state',
  'locks',
  'operations',
  'links',
  'messages',
  'dead-letters',
  'tasks',
  'resources',
]);
/** Commands of those with commands of their own. */
const INNER_GROUPS = new Set(['resources quotas', 'resources rebalance']);

const all = pages();

/** Every command line of the CLI on a page: in its shell blocks, and quoted in its text. */
function commandsOf(text: string): string[] {
  const lines = blocks(text)
    .filter(({ language }) => language === 'console' || language === 'sh')
    .flatMap(({ code }) => code.replaceAll('\\\n', ' ').split('\n'));
  return [...lines, ...quoted(text)].flatMap((line) => {
    const [, command] = /(?:^|^\$ |\$\(|&& )(?:npx )?orchestrator ([a-z][^|#;)]*)/.exec(line) ?? [];
    return command === undefined ? [] : [command.trim()];
  });
}

const commands = [...new Set(all.flatMap(({ text }) => commandsOf(text)))];

describe('the pages', () => {
  it('show many commands', () => expect(commands.length).toBeGreaterThan(30));

  it.each(commands)('name a command that exists: orchestrator %s', async (command) => {
    const words = command.split(/\s+/);
    const depth = INNER_GROUPS.has(words.slice(0, 2).join(' ')) ? 3 : GROUPS.has(words[0] ?? '') ? 2 : 1;
    const names = words.slice(0, depth);
    const run = startCli([...names, '--help']);
    expect(await run.ended).toBe(0);
    const usage = run.stdout.replaceAll(/\|\w+/g, '');
    expect(usage).toMatch(new RegExp(`^Usage: orchestrator ${names.join(' ')}\\b`));
    const options = words.filter((word) => /^--?[a-z]/.test(word)).map((word) => word.replace(/=.*/, ''));
    const flags = KEYS.map((key) => flagName(key.path));
    const known = (option: string) =>
      new RegExp(`(^|[\\s,])${option}[\\s,]`).test(run.stdout) ||
      (names[0] === 'serve' && (flags.includes(option) || option === '--config'));
    expect(options.filter((option) => !known(option))).toEqual([]);
  });

  it('name variables that exist', () => {
    const known = new Set(KEYS.map((key) => envName(key.path)));
    const named = all
      .flatMap(({ text }) => [...text.matchAll(/\bORCHESTRATOR_[A-Z_]+\b(?!…)/g)])
      .map(([name]) => name);
    expect([...new Set(named)].filter((name) => !known.has(name) && !OTHERS.has(name))).toEqual([]);
  });
});

/** Variables of the commands, and of Kubernetes, which are ignored. */
const OTHERS = new Set([
  'ORCHESTRATOR_CONFIG',
  'ORCHESTRATOR_SERVER',
  'ORCHESTRATOR_NAMESPACE',
  'ORCHESTRATOR_AGENT_TOKEN',
  'ORCHESTRATOR_FENCING_TOKEN',
  'ORCHESTRATOR_SERVICE_HOST',
  'ORCHESTRATOR_',
  'ORCHESTRATOR_PORT',
]);
