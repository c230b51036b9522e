import { Loading } from '../components/card.tsx';
import { status } from '../store/live.ts';
import { AlertsNow } from './overview/alerts-now.tsx';
import { FigureTiles } from './overview/figure-tiles.tsx';
import { FleetCard } from './overview/fleet-card.tsx';
import { HeldBack } from './overview/held-back.tsx';
import { RecentEvents } from './overview/recent-events.tsx';
import { ReplicasCard, ServicesCard, SinksCard, StoreCard } from './overview/system-cards.tsx';
import { Verdict } from './overview/verdict.tsx';

/** How the fleet and the service are, at a glance. */
export function OverviewPage() {
  const told = status.value;
  if (told === undefined) return <Loading what="the status" />;
  return (
    <div class="overview">
      <Verdict status={told.value} at={told.at} />
      <HeldBack status={told.value} />
      <FigureTiles status={told.value} at={told.at} />
      <div class="columns">
        <div class="stack-of-cards">
          <FleetCard status={told.value} at={told.at} />
          <AlertsNow />
          <RecentEvents />
        </div>
        <div class="stack-of-cards">
          <ReplicasCard status={told.value} at={told.at} />
          <StoreCard status={told.value} />
          <ServicesCard status={told.value} at={told.at} />
          <SinksCard status={told.value} />
        </div>
      </div>
    </div>
  );
}
