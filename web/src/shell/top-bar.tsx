import { Badge } from '../components/badge.tsx';
import { systemState } from '../components/states.ts';
import { span } from '../lib/format.ts';
import { pageOf } from '../pages/pages.ts';
import { href, place } from '../router.ts';
import { heardAt, isStale, link, now } from '../store/link.ts';
import { status } from '../store/live.ts';
import { type Theme, theme } from '../theme.ts';
import { NamespaceSwitch } from './namespace-switch.tsx';
import { menuOpen } from './navigation.tsx';
import { helpOpen } from './shortcuts.tsx';

const NEXT: Readonly<Record<Theme, Theme>> = { system: 'light', light: 'dark', dark: 'system' };

export function TopBar() {
  const page = pageOf(place.value);
  const detail = place.value.path[1];
  const known = status.value?.value;
  return (
    <header class="top-bar">
      <button
        type="button"
        class="quiet menu-button"
        aria-expanded={menuOpen.value}
        aria-controls="navigation"
        onClick={() => {
          menuOpen.value = !menuOpen.value;
        }}
      >
        <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
          <path
            d="M3 5h14M3 10h14M3 15h14"
            stroke="currentColor"
            stroke-width="1.800"
            stroke-linecap="round"
          />
        </svg>
        <span class="unseen">Menu</span>
      </button>
      <h1>
        {detail !== undefined && page?.detail !== undefined ? (
          <>
            <a href={href([page.path])}>{page.title}</a> <span class="crumb">/</span> <span>{detail}</span>
          </>
        ) : (
          (page?.title ?? 'Not found')
        )}
      </h1>
      <div class="top-bar-right">
        {known !== undefined && (
          <a class="top-state" href={href([])} title={known.reasons.join('\n')}>
            <Badge {...systemState(known.state)} />
          </a>
        )}
        <LinkIndicator />
        <NamespaceSwitch />
        <button
          type="button"
          class="quiet"
          title={`Colours: ${theme.value}`}
          aria-label={`Colours: ${theme.value}. Change to ${NEXT[theme.value]}`}
          onClick={() => {
            theme.value = NEXT[theme.value];
          }}
        >
          <ThemeIcon theme={theme.value} />
        </button>
        <button
          type="button"
          class="quiet help-button"
          aria-label="Keyboard shortcuts"
          title="Keyboard shortcuts (?)"
          onClick={() => {
            helpOpen.value = true;
          }}
        >
          ?
        </button>
      </div>
    </header>
  );
}

/** Who tells, and how long ago it last did. */
function LinkIndicator() {
  const state = link.value;
  const heard = heardAt.value;
  const age = heard === undefined ? 0 : now.value - heard;
  if (state.state === 'live' && !isStale.value)
    return (
      <span class="link tone-ok" title={`Told by ${state.replicaId}`}>
        <i class="pulse" key={Math.floor((heard ?? 0) / 1_000)} />
        Live <span class="age">{age < 1_500 ? '' : span(age)}</span>
      </span>
    );
  return (
    <span class={`link tone-${state.state === 'connecting' ? 'info' : 'bad'}`}>
      <i class="pulse" />
      {state.state === 'connecting' ? 'Connecting' : 'Lost'}{' '}
      {heard !== undefined && <span class="age">{span(age)}</span>}
    </span>
  );
}

function ThemeIcon({ theme: shown }: { theme: Theme }) {
  return (
    <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
      {shown === 'light' && (
        <g stroke="currentColor" stroke-width="1.600" stroke-linecap="round" fill="none">
          <circle cx="10" cy="10" r="3.400" />
          <path d="M10 2v2M10 16v2M2 10h2M16 10h2M4.300 4.300l1.400 1.400M14.300 14.300l1.400 1.400M4.300 15.700l1.400-1.400M14.300 5.700l1.400-1.400" />
        </g>
      )}
      {shown === 'dark' && (
        <path
          d="M15.800 12.200A6.500 6.500 0 0 1 7.800 4.200a6.500 6.500 0 1 0 8 8z"
          fill="none"
          stroke="currentColor"
          stroke-width="1.600"
          stroke-linejoin="round"
        />
      )}
      {shown === 'system' && (
        <g>
          <circle cx="10" cy="10" r="6.200" fill="none" stroke="currentColor" stroke-width="1.600" />
          <path d="M10 3.800a6.200 6.200 0 0 1 0 12.400z" fill="currentColor" />
        </g>
      )}
    </svg>
  );
}
