import { Age } from '../components/age.tsx';
import { Card, Empty, Loading } from '../components/card.tsx';
import { faults, usage } from '../store/live.ts';
import { AgentUsageTable } from './resources/agent-usage.tsx';
import { QuotaCard } from './resources/quotas.tsx';
import { ResourceBars } from './resources/resource-bars.tsx';
import { WaitingCard } from './resources/waiting.tsx';
import { ZoneUsageTable } from './resources/zone-usage.tsx';

const PART_USAGE = 7;

/** How much there is of each resource, who has it, and what waits for it and why. */
export function ResourcesPage() {
  const told = usage.value;
  const fault = faults.value.get(PART_USAGE);
  if (told === undefined) {
    if (fault !== undefined) return <Empty title="Usage cannot be told">{fault.message}</Empty>;
    return <Loading what="the usage of resources" />;
  }
  const { total, zones, agents, quotas, waiting } = told.value;
  return (
    <div class="stack-of-cards">
      <Card
        title="In all"
        aside={
          <>
            told <Age at={told.at} oldMs={60_000} />
          </>
        }
      >
        {total.length === 0 ? (
          <Empty title="No agent declares what it has">
            An agent says what it can hold in <code>spec.capacity</code>: slots, cpu_milli, memory_bytes,
            anything named.
          </Empty>
        ) : (
          <ResourceBars resources={total} at={told.at} />
        )}
      </Card>
      <div class="columns">
        <div class="stack-of-cards">
          <WaitingCard waiting={waiting} />
          <QuotaCard quotas={quotas} />
        </div>
        <div class="stack-of-cards">
          <ZoneUsageTable zones={zones} />
        </div>
      </div>
      {agents.length > 0 && <AgentUsageTable agents={agents} />}
    </div>
  );
}
