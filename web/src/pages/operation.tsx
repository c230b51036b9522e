import { useState } from 'preact/hooks';
import {
  type AgentOutcome,
  type Operation,
  AgentOutcome_State as Outcome,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { Ago } from '../components/age.tsx';
import { Badge } from '../components/badge.tsx';
import { Card, Empty, Fact, Facts, Loading } from '../components/card.tsx';
import { ScrollX } from '../components/scroll-x.tsx';
import { Shape } from '../components/shape.tsx';
import { millis, percent } from '../lib/format.ts';
import { durationMs, timeMs } from '../lib/time.ts';
import { href, namespace, place } from '../router.ts';
import { now } from '../store/link.ts';
import { operations } from '../store/live.ts';
import { useCall } from '../store/query.ts';
import { OutcomeBar, outcomeState } from './operations/outcome-bar.tsx';
import { OperationHead } from './operations.tsx';

const AGENTS = 200;
/** What became of each agent is asked for so often while it is under way. */
const EVERY_MS = 2_000;
const STATES = [
  Outcome.FAILED,
  Outcome.ACCEPTED,
  Outcome.DELIVERED,
  Outcome.WAITING,
  Outcome.DONE,
  Outcome.CANCELLED,
];

/** One operation: how far it is, and what became of each agent. */
export function OperationPage() {
  const id = place.value.path[1] ?? '';
  operations.version.value;
  const live = operations.get(id);
  const [state, setState] = useState<Outcome>();
  const beat = live === undefined || live.endTime !== undefined ? 0 : Math.floor(now.value / EVERY_MS);
  const { value, error } = useCall(
    'FleetOperationService',
    'getOperation',
    {
      namespace: namespace.value,
      operationId: id,
      withAgents: true,
      pageSize: AGENTS,
      agentStates: state === undefined ? [] : [state],
    },
    `${namespace.value} ${id} ${state} ${beat} ${live?.revision}`,
  ).value;
  const shown = live ?? value?.operation;
  if (shown === undefined) {
    if (error === undefined) return <Loading what={`operation ${id}`} />;
    return <Empty title={`Operation ${id} cannot be shown`}>{error}</Empty>;
  }
  return (
    <div class="stack-of-cards one-column">
      <section class="card operation" aria-label="Progress">
        <OperationHead operation={shown} linked={false} />
        <OutcomeBar operation={shown} />
      </section>
      <Limits operation={shown} />
      <Card
        title="Its agents, in the order of their turns"
        flush
        aside={
          <fieldset class="spans">
            <legend class="unseen">Only agents that are</legend>
            {STATES.map((each) => (
              <button
                key={each}
                type="button"
                class={`toggle tone-${outcomeState(each).tone}`}
                aria-pressed={state === each}
                onClick={() => setState(state === each ? undefined : each)}
              >
                <Shape mark={outcomeState(each).mark} />
                {outcomeState(each).word}
              </button>
            ))}
          </fieldset>
        }
      >
        <Agents agents={value?.agents} more={(value?.nextPageToken ?? '') !== ''} error={error} />
      </Card>
    </div>
  );
}

function Agents({
  agents,
  more,
  error,
}: {
  agents: readonly AgentOutcome[] | undefined;
  more: boolean;
  error: string | undefined;
}) {
  if (agents === undefined)
    return error === undefined ? <Loading what="its agents" /> : <Empty title={error} />;
  if (agents.length === 0) return <Empty title="No agent is like that" />;
  return (
    <ScrollX label="Agents of the operation">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">Agent</th>
            <th scope="col">State</th>
            <th scope="col" class="number">
              Wave
            </th>
            <th scope="col">Seen</th>
            <th scope="col" class="number">
              Changed
            </th>
          </tr>
        </thead>
        <tbody>
          {agents.map(({ agentId, state, wave, verified, error: wrong, updateTime, tries }) => (
            <tr key={agentId}>
              <th scope="row">
                <a href={href(['agents', agentId])}>{agentId}</a>
              </th>
              <td>
                <Badge {...outcomeState(state)} plain />
                {wrong !== '' && <div class="cell-note">{wrong}</div>}
              </td>
              <td class="number">{wave}</td>
              <td>
                {verified ? 'its effect was seen' : ''}
                {tries > 1 ? ` ${tries} tries` : ''}
              </td>
              <td class="number">
                <Ago ms={timeMs(updateTime)} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {more && <p class="more-note muted">These are the first {AGENTS}: choose a state to see others.</p>}
    </ScrollX>
  );
}

function Limits({ operation: { id, spec } }: { operation: Operation }) {
  if (spec === undefined) return null;
  return (
    <Card title="How carefully">
      <Facts>
        <Fact name="wave">{amount(spec.wave, 'all at once')}</Fact>
        <Fact name="at a time">{amount(spec.maxInFlight, 'as many as the wave has')}</Fact>
        <Fact name="stops after">{amount(spec.maxErrors, 'the first failure')}</Fact>
        <Fact name="each may take">
          {spec.agentTimeout === undefined ? '5 min' : millis(durationMs(spec.agentTimeout))}
        </Fact>
        <Fact name="pause between waves">
          {spec.wavePause === undefined ? 'none' : millis(durationMs(spec.wavePause))}
        </Fact>
        <Fact name="least health">{spec.minHealth === 0 ? 'not looked at' : percent(spec.minHealth)}</Fact>
        {spec.reason !== '' && <Fact name="reason">{spec.reason}</Fact>}
        <Fact name="id">
          <span class="mono">{id}</span>
        </Fact>
      </Facts>
    </Card>
  );
}

function amount(of: NonNullable<Operation['spec']>['wave'], absent: string): string {
  if (of?.amount.case === undefined) return absent;
  return of.amount.case === 'count' ? `${of.amount.value}` : `${of.amount.value}%`;
}
