import type { ComponentChildren } from 'preact';
import { type Agent, Relationship_Type } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { ExplainAgentResponse } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { Ago } from '../../components/age.tsx';
import { Chip } from '../../components/badge.tsx';
import { Card, Fact, Facts } from '../../components/card.tsx';
import { count, millis, plural, quantity } from '../../lib/format.ts';
import { durationMs, timeMs } from '../../lib/time.ts';
import { href } from '../../router.ts';

const RELATION: Readonly<Record<number, string>> = {
  [Relationship_Type.DEPENDS_ON]: 'depends on',
  [Relationship_Type.SUPERVISED_BY]: 'is supervised by',
};

/** What it declared, and from where it speaks. */
export function AboutCard({
  agent,
  explanation,
}: {
  agent: Agent;
  explanation: ExplainAgentResponse | undefined;
}) {
  const { spec, observation } = agent;
  const usage = observation?.report?.usage ?? {};
  const capacity = Object.entries(spec?.capacity ?? {}).sort();
  return (
    <Card title="About">
      <Facts>
        <Fact name="Registered">
          <Ago ms={timeMs(agent.createTime)} />
        </Fact>
        <Fact name="Changed">
          <Ago ms={timeMs(agent.updateTime)} />
        </Fact>
        {observation !== undefined && (
          <>
            <Fact name="Attached">
              <Ago ms={timeMs(observation.attachTime)} />
            </Fact>
            <Fact name="Observed by">{observation.replicaId}</Fact>
            <Fact name="From">{observation.peer || '–'}</Fact>
            <Fact name="Client">{observation.client || '–'}</Fact>
            <Fact name="Process">{observation.instanceId || '–'}</Fact>
            <Fact name="Clock offset">{millis(durationMs(observation.clockOffset))}</Fact>
            <Fact name="Heartbeats">{count(observation.heartbeats)}</Fact>
            <Fact name="Never answered">{count(observation.missed)}</Fact>
          </>
        )}
      </Facts>
      <Group title="Capabilities" show={(spec?.capabilities.length ?? 0) > 0}>
        {spec?.capabilities.map(({ name, version, description }) => (
          <Chip key={name} title={description}>
            {name} <span class="muted">{version}</span>
          </Chip>
        ))}
      </Group>
      <Group title="Labels" show={Object.keys(spec?.labels ?? {}).length > 0}>
        {Object.entries(spec?.labels ?? {})
          .sort()
          .map(([name, value]) => (
            <Chip key={name}>
              <span class="muted">{name}=</span>
              {value}
            </Chip>
          ))}
      </Group>
      <Group title="Capacity" show={capacity.length > 0}>
        {capacity.map(([name, value]) => (
          <Chip key={name}>
            {name} <strong>{quantity(name, value)}</strong>
            {usage[name] !== undefined && <span class="muted"> uses {quantity(name, usage[name])}</span>}
          </Chip>
        ))}
      </Group>
      <Group title="Relationships" show={(spec?.relationships.length ?? 0) > 0}>
        {spec?.relationships.map(({ type, agentId }) => (
          <Chip key={`${type} ${agentId}`}>
            <span class="muted">{RELATION[type] ?? 'has to do with'}</span>{' '}
            <a href={href(['agents', agentId])}>{agentId}</a>
          </Chip>
        ))}
      </Group>
      <Exits explanation={explanation} />
    </Card>
  );
}

function Group({ title, show, children }: { title: string; show: boolean; children: ComponentChildren }) {
  if (!show) return null;
  return (
    <div class="group">
      <h3>{title}</h3>
      <div class="chips">{children}</div>
    </div>
  );
}

function Exits({ explanation }: { explanation: ExplainAgentResponse | undefined }) {
  const exits = explanation?.exits ?? [];
  const failures = explanation?.failures ?? [];
  if (exits.length === 0 && failures.length === 0) return null;
  return (
    <div class="group">
      {failures.length > 0 && (
        <p class="note">
          {plural(failures.length, 'failure')} of late: {failures.map(({ kind }) => kind).join(', ')}
        </p>
      )}
      {exits.map((exit) => (
        <details key={exit.start} class="exit">
          <summary>
            Start {exit.start} ended{' '}
            {exit.signal === '' ? `with code ${exit.exitCode ?? '?'}` : `by ${exit.signal}`} after{' '}
            {millis(durationMs(exit.ran))}
          </summary>
          <pre>{exit.lastLines.join('\n') || 'It wrote nothing.'}</pre>
        </details>
      ))}
    </div>
  );
}
