import type { CallOptions } from '@connectrpc/connect';
import { type Command, InvalidArgumentError } from 'commander';
import type { Connection } from '../client.ts';
import { completeWords, type IdKind, type IdSource } from '../completion.ts';
import type { Context, Runner } from '../context.ts';

const scripts: Readonly<Record<string, string>> = {
  bash: `# orchestrator: completion for bash. Load it with: source <(orchestrator completion bash)
_orchestrator() {
  local IFS=$'\\n'
  COMPREPLY=($("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o default -F _orchestrator orchestrator`,
  zsh: `#compdef orchestrator
# orchestrator: completion for zsh. Load it with: source <(orchestrator completion zsh)
_orchestrator() {
  local -a found
  local line
  while IFS= read -r line; do
    found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done < <("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#found} )); then _describe 'orchestrator' found; else _files; fi
}
compdef _orchestrator orchestrator`,
  fish: `# orchestrator: completion for fish. Load it with: orchestrator completion fish | source
function __orchestrator_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found ($words[1] __complete -- $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c orchestrator -f -a '(__orchestrator_complete)'`,
};

/** `completion bash|zsh|fish`, and the hidden command that the scripts ask. */
export function addCompletionCommands(program: Command, run: Runner): void {
  const shells = Object.keys(scripts);
  program
    .command('completion')
    .description(
      'a script that completes commands, options, their values, and ids of agents, tasks, alerts, silences and metrics',
    )
    .argument('<shell>', shells.join(', '), (shell: string) => {
      if (!shells.includes(shell)) throw new InvalidArgumentError(`allowed: ${shells.join(', ')}.`);
      return shell;
    })
    .addHelpText(
      'after',
      '\nFor this shell: source <(orchestrator completion bash). For each one: put that into ~/.bashrc.',
    )
    .action((shell: string, _options: unknown, command: Command) =>
      run(command, async (context) => context.print([scripts[shell] ?? ''])),
    );

  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .action((words: string[], _options: unknown, command: Command) =>
      run(command, async (context) => {
        const found = await completeWords(program, words, knownIds(context));
        context.print(found.map(({ value, about }) => `${value}\t${about}`));
      }),
    );
}

/** How long a shell may wait for ids, milliseconds. */
const patienceMs = 1_500;
const mostIds = 1_000;
/** Other characters cannot be in an id; a server that says so does not get them into a shell. */
const plainId = /^[A-Za-z0-9._-]+$/;

function knownIds({ connection, namespace, signal }: Context): IdSource {
  return async (kind) => {
    try {
      const call = { signal, timeoutMs: patienceMs };
      const found = await namesOf(kind, connection, namespace, call);
      return found.filter((id) => plainId.test(id));
    } catch {
      return [];
    }
  };
}

async function namesOf(
  kind: IdKind,
  { agents, tasks, alerts, monitoring }: Connection,
  namespace: string,
  call: CallOptions,
): Promise<string[]> {
  const page = { namespace, pageSize: mostIds };
  const ids = (found: readonly { id: string }[]) => found.map(({ id }) => id);
  switch (kind) {
    case 'agent':
      return ids((await agents.listAgents(page, call)).agents);
    case 'task':
      return ids((await tasks.listTasks(page, call)).tasks);
    case 'alert':
      return ids((await alerts.listAlerts(page, call)).alerts);
    case 'silence':
      return ids((await alerts.listSilences({ namespace }, call)).silences);
    case 'metric':
      return (await monitoring.listMetrics({}, call)).metrics.map(({ name }) => name);
  }
}
