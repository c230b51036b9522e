// Addresses are "#/agents/web-1?ns=prod": the page is one file, whatever path a proxy serves it under.
import { computed, signal } from '@preact/signals';

export interface Place {
  /** "agents", "web-1". */
  path: readonly string[];
  query: URLSearchParams;
}

const hash = signal(location.hash);
addEventListener('hashchange', () => {
  hash.value = location.hash;
});

export const place = computed<Place>(() => {
  const [path = '', query = ''] = hash.value.replace(/^#\/?/, '').split('?', 2);
  return { path: path.split('/').filter(Boolean).map(decoded), query: new URLSearchParams(query) };
});

export const DEFAULT_NAMESPACE = 'default';
export const namespace = computed(() => {
  const name = place.value.query.get('ns') ?? DEFAULT_NAMESPACE;
  return /^_?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name) ? name : DEFAULT_NAMESPACE;
});

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The address of a page in the present namespace. */
export function href(path: readonly string[], query: Record<string, string> = {}, ns?: string): string {
  const search = new URLSearchParams(query);
  const where = ns ?? namespace.value;
  if (where !== DEFAULT_NAMESPACE) search.set('ns', where);
  const text = search.toString();
  return `#/${path.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`;
}

/** Keeps what is chosen on a page in its address, without a step in the history. Empty values are left out. */
export function setQuery(changes: Record<string, string>): void {
  const { path, query } = place.peek();
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === '') next.delete(name);
    else next.set(name, value);
  }
  const text = next.toString();
  const address = `#/${path.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`;
  history.replaceState(null, '', address);
  hash.value = address;
}

export function go(address: string): void {
  location.hash = address;
}
