import { signal } from '@preact/signals';
import { DEFAULT_NAMESPACE, go, href, namespace, place } from '../router.ts';
import { alerts, status } from '../store/live.ts';

const KEY = 'orchestrator.namespaces';
const MOST = 12;

const visited = signal<readonly string[]>(remembered());

function remembered(): string[] {
  try {
    const names: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(names) ? names.filter((name) => typeof name === 'string').slice(0, MOST) : [];
  } catch {
    return [];
  }
}

/** Goes to the same page of another namespace: one that has agents or was visited, or that alerts and brakes tell of, or any that is typed. */
export function NamespaceSwitch() {
  alerts.version.value;
  const told = status.value?.value;
  const names = new Set([
    DEFAULT_NAMESPACE,
    namespace.value,
    ...visited.value,
    ...(told?.namespaces ?? []),
    ...[...alerts.values()].map((alert) => alert.namespace),
    ...(told?.brakes ?? []).map((brake) => brake.namespace),
    ...(told?.freezes ?? []).map((freeze) => freeze.namespace),
  ]);
  names.delete('_system');
  names.delete('');
  return (
    <form
      class="namespace"
      onSubmit={(event) => {
        event.preventDefault();
        const input = event.currentTarget.elements.namedItem('namespace');
        if (input instanceof HTMLInputElement) change(input.value.trim());
      }}
    >
      <label for="namespace">Namespace</label>
      <input
        id="namespace"
        name="namespace"
        list="namespaces"
        key={namespace.value}
        defaultValue={namespace.value}
        maxLength={63}
        pattern="[a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?"
        title="Small letters, digits and dashes"
        spellcheck={false}
        autocomplete="off"
        onChange={(event) => {
          if (event.currentTarget.reportValidity()) change(event.currentTarget.value.trim());
        }}
        onFocus={(event) => event.currentTarget.select()}
      />
      <datalist id="namespaces">
        {[...names].sort().map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </form>
  );
}

function change(name: string): void {
  const next = name === '' ? DEFAULT_NAMESPACE : name;
  if (next === namespace.peek()) return;
  visited.value = [next, ...visited.peek().filter((each) => each !== next)].slice(0, MOST);
  try {
    localStorage.setItem(KEY, JSON.stringify(visited.peek()));
  } catch {
    // Not remembered, then.
  }
  // A thing of one namespace is none of another: its list is shown instead.
  go(href(place.peek().path.slice(0, 1), {}, next));
}
