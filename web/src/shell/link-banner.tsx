import { Shape } from '../components/shape.tsx';
import { span } from '../lib/format.ts';
import { retryNow } from '../live/client.ts';
import { heardAt, isStale, link, now } from '../store/link.ts';

/** Unmistakable while there is no connection: everything below it is as it was then. */
export function LinkBanner() {
  const state = link.value;
  const heard = heardAt.value;
  const lost = state.state === 'lost';
  return (
    <div role="alert">
      {isStale.value && (
        <div class="link-banner">
          <Shape mark="cross" />
          <div class="link-banner-text">
            <strong>{lost ? 'Connection lost' : 'Nothing is heard'}</strong>{' '}
            <span aria-hidden="true">
              {heard === undefined
                ? 'nothing has come yet.'
                : `for ${span(now.value - heard)}. What is shown is as it was then.`}{' '}
              {lost && Number.isFinite(state.retryAt) && (
                <>
                  Next try {state.retryAt > now.value ? `in ${span(state.retryAt - now.value + 999)}` : 'now'}
                  .
                </>
              )}
            </span>
            {lost && <span class="link-banner-reason">{state.reason}</span>}
          </div>
          <button type="button" onClick={retryNow}>
            Try now
          </button>
        </div>
      )}
    </div>
  );
}
