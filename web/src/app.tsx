import { effect } from '@preact/signals';
import { WatchLiveRequest_Part as Part } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Empty } from './components/card.tsx';
import { Toasts } from './components/toasts.tsx';
import { pageOf } from './pages/pages.ts';
import { href, namespace, place } from './router.ts';
import { LinkBanner } from './shell/link-banner.tsx';
import { Navigation } from './shell/navigation.tsx';
import { ShortcutHelp } from './shell/shortcuts.tsx';
import { TopBar } from './shell/top-bar.tsx';
import { isStale } from './store/link.ts';
import { want } from './store/live.ts';

/** How often readings come at most. */
const MIN_INTERVAL_MS = 1_000;

/** The stream follows the page that is shown. */
effect(() => {
  const page = pageOf(place.value);
  const shown = (place.value.path[1] !== undefined ? page?.detail : undefined) ?? page;
  want({
    namespace: namespace.value,
    parts: [Part.STATUS, Part.ALERTS, ...(shown?.parts ?? [])],
    agentIds: [],
    recentEvents: 0,
    minIntervalMs: MIN_INTERVAL_MS,
    ...shown?.spec?.(place.value),
  });
});

effect(() => {
  const page = pageOf(place.value);
  const detail = place.value.path[1];
  document.title = [detail, page?.title ?? 'Not found', 'Orchestrator'].filter(Boolean).join(' · ');
});

export function App() {
  const page = pageOf(place.value);
  const Shown = (place.value.path[1] !== undefined ? page?.detail?.page : undefined) ?? page?.page;
  return (
    <div class="frame">
      <button type="button" class="skip" onClick={skip}>
        Skip to the content
      </button>
      <Navigation />
      <div class="column">
        <TopBar />
        <LinkBanner />
        <main id="main" tabIndex={-1} class={isStale.value ? 'stale' : ''}>
          {Shown === undefined ? (
            <Empty title="There is no such page">
              <a href={href([])}>Back to the overview</a>
            </Empty>
          ) : (
            <Shown key={`${namespace.value}/${place.value.path.join('/')}`} />
          )}
        </main>
      </div>
      <ShortcutHelp />
      <Toasts />
    </div>
  );
}

/** No link: the address holds the page, and a jump within it must not change that. */
function skip(): void {
  document.getElementById('main')?.focus();
}
