import { signal } from '@preact/signals';
import { PAGES } from '../pages/pages.ts';
import { href, place } from '../router.ts';
import { firingCount } from '../store/figures.ts';
import { status } from '../store/live.ts';
import { NavIcon } from './nav-icon.tsx';

/** On phones the navigation is folded away. */
export const menuOpen = signal(false);

export function Navigation() {
  const here = place.value.path[0] ?? '';
  const firing = firingCount.value;
  const version = status.value?.value.version;
  return (
    <nav class={`navigation${menuOpen.value ? ' open' : ''}`} aria-label="Pages" id="navigation">
      <a class="brand" href={href([])} onClick={close}>
        <img src="./favicon.svg" alt="" width="26" height="26" />
        <span>{status.value?.value.orchestratorName || 'Orchestrator'}</span>
      </a>
      <ul>
        {PAGES.map(({ path, title }) => (
          <li key={path}>
            <a
              href={href(path === '' ? [] : [path])}
              aria-current={here === path ? 'page' : undefined}
              onClick={close}
            >
              <NavIcon name={path} />
              <span>{title}</span>
              {path === 'alerts' && firing > 0 && (
                <span class="count-badge">
                  {firing}
                  <span class="unseen"> firing</span>
                </span>
              )}
            </a>
          </li>
        ))}
      </ul>
      <div class="navigation-foot">
        <a href="./api">API</a>
        <a href="./metrics">Metrics</a>
        {version !== undefined && <span class="muted">v{version}</span>}
      </div>
    </nav>
  );
}

function close(): void {
  menuOpen.value = false;
}
