import { signal } from '@preact/signals';
import { Dialog } from '../components/dialog.tsx';
import { PAGES } from '../pages/pages.ts';
import { go, href } from '../router.ts';
import { theme } from '../theme.ts';

export const helpOpen = signal(false);

/** The second key of "g a" must follow within this. */
const SEQUENCE_MS = 1_200;

/** Keys for whoever keeps the hands on the keyboard. None of them acts on the fleet. */
export function listenForShortcuts(): void {
  let wentAt = Number.NEGATIVE_INFINITY;
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector('dialog[open]') !== null) return;
    if (event.timeStamp - wentAt < SEQUENCE_MS) {
      wentAt = Number.NEGATIVE_INFINITY;
      const page = PAGES.find(({ key }) => key === event.key);
      if (page === undefined) return;
      event.preventDefault();
      go(href(page.path === '' ? [] : [page.path]));
      return;
    }
    if (event.key === 'g') wentAt = event.timeStamp;
    else if (event.key === '?') helpOpen.value = true;
    else if (event.key === 'd') theme.value = theme.peek() === 'dark' ? 'light' : 'dark';
    else if (event.key === '/') {
      const search = document.querySelector<HTMLInputElement>('input[type=search]');
      if (search === null) return;
      event.preventDefault();
      search.focus();
      search.select();
    }
  });
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(input|textarea|select)$/i.test(target.tagName))
  );
}

export function ShortcutHelp() {
  if (!helpOpen.value) return null;
  return (
    <Dialog
      title="Keyboard"
      onClose={() => {
        helpOpen.value = false;
      }}
    >
      <table class="shortcuts">
        <tbody>
          {PAGES.map(({ path, title, key }) => (
            <tr key={path}>
              <th scope="row">
                <kbd>g</kbd> <kbd>{key}</kbd>
              </th>
              <td>{title}</td>
            </tr>
          ))}
          <tr>
            <th scope="row">
              <kbd>/</kbd>
            </th>
            <td>Search</td>
          </tr>
          <tr>
            <th scope="row">
              <kbd>d</kbd>
            </th>
            <td>Light or dark</td>
          </tr>
          <tr>
            <th scope="row">
              <kbd>↑</kbd> <kbd>↓</kbd> <kbd>Enter</kbd>
            </th>
            <td>Move in a table, open its row</td>
          </tr>
        </tbody>
      </table>
    </Dialog>
  );
}
