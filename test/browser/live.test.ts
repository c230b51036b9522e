import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Clients, connectClients } from '../support/clients.ts';
import { ServiceProcess } from '../support/service.ts';
import { fastTimes } from '../support/stack.ts';
import { RawFleet } from '../support/tasks/raw-fleet.ts';
import { launch, openTab, violations } from './support/browser.ts';

let service: ServiceProcess;
let fleet: RawFleet;
let clients: Clients;
let browser: Browser;

beforeAll(async () => {
  service = await ServiceProcess.start({
    env: { ...fastTimes, ORCHESTRATOR_SESSION_PING_INTERVAL: '1s', ORCHESTRATOR_SESSION_LEASE: '20s' },
  });
  browser = await launch();
  clients = connectClients(service.grpc);
  fleet = new RawFleet({ address: service.grpc, connections: 1 });
  await fleet.join(
    ['a-1', 'a-2', 'a-10'].map((id) => ({ id, spec: { kind: 'worker', labels: { tier: 'web' } } })),
  );
});

afterAll(async () => {
  fleet?.close();
  clients?.close();
  await browser?.close();
  await service?.stop();
});

test('changes of agents reach the table by the stream, without another request', async () => {
  const { page, complaints } = await openTab(browser, service.http);
  await page.goto(`http://${service.http}/#/agents`);
  await page.getByRole('link', { name: 'a-10' }).waitFor();
  const ids = await page.locator('.virtual tbody th a').allTextContents();
  expect(ids).toEqual(['a-1', 'a-2', 'a-10']);
  let requests = 0;
  page.on('request', () => {
    requests += 1;
  });
  await clients.agents.quarantineAgent({ agentId: 'a-2', reason: 'test' });
  await page.locator('tr', { hasText: 'a-2' }).getByText('quarantined').waitFor();
  await clients.agents.registerAgent({ agentId: 'a-3', spec: { kind: 'worker' } });
  await page.getByRole('link', { name: 'a-3' }).waitFor();
  await clients.agents.deregisterAgent({ agentId: 'a-3' });
  await page.getByRole('link', { name: 'a-3' }).waitFor({ state: 'detached' });
  fleet.agents.get('a-1')?.kill();
  await page.locator('tr', { hasText: 'a-1' }).getByText('disconnected').first().waitFor();
  expect(requests).toBe(0);
  await fleet.agents.get('a-1')?.attach();
  expect(complaints).toEqual([]);
  await page.context().close();
});

test('tasks come and go by the stream: nothing is asked for again as time goes by', async () => {
  const { page, complaints } = await openTab(browser, service.http);
  await page.goto(`http://${service.http}/#/tasks?state=pending,cancelled`);
  await page.getByText('No task is like that').waitFor();
  await page.waitForTimeout(500);
  const requests: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  const { task } = await clients.tasks.submitTask({ spec: { capability: 'nobody-can' } });
  await page.getByRole('link', { name: 'nobody-can' }).waitFor();
  await clients.tasks.cancelTask({ taskId: task?.id ?? '' });
  await page.locator('tr', { hasText: 'nobody-can' }).getByText('cancelled').first().waitFor();
  await page.waitForTimeout(5_500);
  expect(requests).toEqual([]);
  expect(complaints).toEqual([]);
  await page.context().close();
});

test('search, filters and order stand in the address, and the table is used by keyboard', async () => {
  const { page } = await openTab(browser, service.http);
  await page.goto(`http://${service.http}/#/agents`);
  await page.getByRole('link', { name: 'a-10' }).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('tier=web a-1');
  await page.getByText('2 of 3 agents').waitFor();
  expect(page.url()).toContain('q=tier');
  await page.getByRole('button', { name: 'Agent', exact: false }).first().press('Enter');
  await page.waitForFunction(() => document.querySelector('.virtual tbody th a')?.textContent === 'a-10');
  await page.reload();
  await page.waitForFunction(() => document.querySelector('.virtual tbody th a')?.textContent === 'a-10');
  await page.locator('.virtual').focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.locator('.agent-head').waitFor();
  expect(page.url()).toContain('#/agents/a-1');
  await page.keyboard.press('g');
  await page.keyboard.press('o');
  await page.locator('.tile-value').first().waitFor();
  await page.context().close();
});

test('an order to an agent is asked for twice, given by keyboard alone, and refused ones say why', async () => {
  const { page, complaints } = await openTab(browser, service.http);
  await page.goto(`http://${service.http}/#/agents/a-10`);
  await page.getByRole('button', { name: 'Drain…' }).press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Drain a-10' });
  await dialog.waitFor();
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Drain…' }).press('Enter');
  await dialog.getByLabel('Reason').fill('a new version');
  await dialog.getByLabel('Reason').press('Enter');
  await page
    .locator('.agent-states')
    .getByText(/draining|drained/)
    .waitFor();
  const { agent } = await clients.agents.getAgent({ agentId: 'a-10' });
  expect(agent?.drain?.reason).toBe('a new version');
  await clients.agents.deregisterAgent({ agentId: 'a-10' });
  await page.getByText('deregistered').first().waitFor();
  expect(complaints).toEqual([]);
  await page.context().close();
});

test('a lost connection is unmistakable, ages go on, and all is live again when the service is back', async () => {
  const { page } = await openTab(browser, service.http);
  await page.goto(`http://${service.http}/#/agents`);
  await page.getByRole('link', { name: 'a-2' }).waitFor();
  await page
    .locator('tr', { hasText: 'a-2' })
    .locator('.age', { hasText: /now| s$/ })
    .waitFor();
  await service.kill('SIGKILL');
  await page.getByText('Connection lost').waitFor({ timeout: 10_000 });
  expect(await page.locator('main').getAttribute('class')).toContain('stale');
  expect(
    await page.evaluate(() => getComputedStyle(document.querySelector('main') ?? document.body).filter),
  ).toBe('grayscale(1)');
  expect(await violations(page)).toEqual([]);
  // What was there is still shown, and its age counts on.
  await page.getByRole('link', { name: 'a-2' }).waitFor();
  await page
    .locator('tr', { hasText: 'a-2' })
    .locator('.age', { hasText: /^[4-9] s$/ })
    .waitFor({ timeout: 15_000 });
  await service.restart();
  await page
    .getByRole('button', { name: 'Try now' })
    .click({ timeout: 1_000 })
    .catch(() => {});
  await page.locator('.link.tone-ok').waitFor({ timeout: 20_000 });
  expect(await page.locator('main').getAttribute('class')).not.toContain('stale');
  await page.context().close();
});

test('a replica that says nothing any more is taken for lost, though its connection stands', async () => {
  const { page } = await openTab(browser, service.http);
  await page.goto(`http://${service.http}/#/`);
  await page.locator('.tile-value').first().waitFor();
  await page.locator('.link.tone-ok').waitFor();
  service.signal('SIGSTOP');
  try {
    await page.getByText('Nothing is heard').waitFor({ timeout: 12_000 });
  } finally {
    service.signal('SIGCONT');
  }
  await page.locator('.link.tone-ok').waitFor({ timeout: 20_000 });
  await page.context().close();
});
