import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Clients, connectClients } from '../support/clients.ts';
import { ServiceProcess } from '../support/service.ts';
import { launch, openTab } from './support/browser.ts';

const MARKUP = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
/** Turns the direction of what follows, hides, and feeds a terminal. The API refuses what is in its tables; this is allowed. */
const HIDDEN = 'safe\u202Egnp.exe\u200B\uFEFF';

/** No character that nobody sees. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/;

let service: ServiceProcess;
let clients: Clients;
let browser: Browser;

beforeAll(async () => {
  service = await ServiceProcess.start();
  browser = await launch();
  clients = connectClients(service.grpc);
  await clients.agents.registerAgent({
    agentId: 'mallory',
    spec: {
      displayName: `${MARKUP} ${HIDDEN}`,
      kind: 'trickster',
      version: '"><b>1</b>',
      capabilities: [{ name: 'trick', description: MARKUP }],
      annotations: { note: MARKUP },
    },
  });
  await clients.agents.registerAgent({ agentId: 'constructor', spec: { displayName: '__proto__' } });
  await clients.agents.quarantineAgent({ agentId: 'mallory', reason: `${MARKUP}\n${HIDDEN}` });
  await clients.tasks.submitTask({ spec: { capability: 'trick', labels: { owner: 'constructor' } } });
});

afterAll(async () => {
  clients?.close();
  await browser?.close();
  await service?.stop();
});

test.each([
  ['#/', '.event-line'],
  ['#/agents', '.virtual tbody th a'],
  ['#/agents/mallory', '.agent-states'],
  ['#/tasks', 'main > *'],
  ['#/events', 'main > *'],
  ['#/topology', 'main > *'],
])('markup and hidden characters of agents are text on %s', async (address, shows) => {
  const { page, complaints } = await openTab(browser, service.http);
  await page.goto(`http://${service.http}/${address}`);
  await page.locator(shows).first().waitFor();
  await page.waitForTimeout(1_000);
  expect(await page.title()).not.toContain('owned');
  expect(await page.locator('main img, main script, main b').count()).toBe(0);
  const text = await page.evaluate(() => document.body.textContent ?? '');
  expect(text).not.toMatch(UNSEEN);
  if (address.endsWith('mallory')) {
    expect(text).toContain('<img src=x onerror=');
    expect(text).toContain('safe\\u202egnp.exe\\u200b\\ufeff');
  }
  expect(complaints).toEqual([]);
  await page.context().close();
});

test('an address made by somebody else harms nobody', async () => {
  const { page, complaints } = await openTab(browser, service.http);
  for (const address of [
    '#/agents/%3Cimg%20src%3Dx%3E?ns=<b>',
    '#/constructor',
    '#/agents/%E0%A4%A',
    '#/__proto__/x?tab=%00',
  ]) {
    await page.goto(`http://${service.http}/${address}`);
    await page.locator('main > *').first().waitFor();
    expect(await page.locator('main img').count()).toBe(0);
  }
  expect(complaints).toEqual([]);
  await page.context().close();
});
