import { Empty, Loading } from '../components/card.tsx';
import { namespace, place } from '../router.ts';
import { agents, events, openings, wholeAgents } from '../store/live.ts';
import { useCall } from '../store/query.ts';
import { AboutCard } from './agent/about.tsx';
import { AgentCharts } from './agent/charts.tsx';
import { AgentEvents } from './agent/events-card.tsx';
import { AgentHead } from './agent/head.tsx';
import { MailboxCard } from './agent/mailbox.tsx';
import { NextCard } from './agent/next.tsx';
import { SignalTiles } from './agent/signals.tsx';
import { AgentTasks } from './agent/tasks-card.tsx';
import { VerdictsCard } from './agent/verdicts.tsx';

/** Explanations are made when asked: anew with each change, and with a new reading of the stream after this time. */
const EXPLAIN_EVERY_MS = 5_000;

/** One agent: how it is and why, what it has, what happened to it, and what can be done with it. */
export function AgentPage() {
  const id = place.value.path[1] ?? '';
  wholeAgents.version.value;
  const agent = wholeAgents.get(id);
  agents.version.value;
  const row = agents.get(id);
  const beat = Math.floor((row?.reading?.at ?? 0) / EXPLAIN_EVERY_MS);
  const newest = events.value.find(({ agentId }) => agentId === id)?.id ?? '';
  const changed = `${openings.value} ${newest} ${row?.tasks} ${row?.deliveries}`;
  const explained = useCall(
    'AgentService',
    'explainAgent',
    { namespace: namespace.value, agentId: id },
    `${namespace.value} ${id} ${agent?.revision} ${beat} ${changed}`,
  ).value;
  const shown = agent ?? explained.value?.agent;
  if (shown === undefined) {
    if (explained.error === undefined) return <Loading what={id} />;
    return <Empty title={`Nothing is known of ${id}`}>{explained.error}</Empty>;
  }
  const explanation = explained.value;
  return (
    <div class="agent-page">
      <AgentHead
        agent={shown}
        summary={explanation?.summary ?? ''}
        isGone={wholeAgents.complete.value && agent === undefined}
      />
      {explanation !== undefined && <SignalTiles explanation={explanation} />}
      <AgentCharts id={id} />
      <div class="columns">
        <div class="stack-of-cards">
          {explanation !== undefined && <VerdictsCard explanation={explanation} />}
          <AgentEvents id={id} revision={shown.revision} />
          <AgentTasks id={id} changed={changed} />
        </div>
        <div class="stack-of-cards">
          {explanation !== undefined && <NextCard explanation={explanation} at={explained.at} />}
          {explanation !== undefined && <MailboxCard explanation={explanation} />}
          <AboutCard agent={shown} explanation={explanation} />
        </div>
      </div>
    </div>
  );
}
