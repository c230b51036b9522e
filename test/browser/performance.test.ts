import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ServiceProcess } from '../support/service.ts';
import { RawFleet } from '../support/tasks/raw-fleet.ts';
import { launch, openTab } from './support/browser.ts';

const AGENTS = Number(process.env.BROWSER_AGENTS ?? 3_000);
const WATCHED_S = Number(process.env.BROWSER_SECONDS ?? 15);
const MAX_LONG_TASK_MS = 50;
const MAX_FIRST_LOAD = 200 * 1_024;

let service: ServiceProcess;
let fleet: RawFleet;
let browser: Browser;

beforeAll(async () => {
  service = await ServiceProcess.start({ env: { ORCHESTRATOR_LIMITS_MAX_AGENTS: '20000' } });
  browser = await launch();
  fleet = new RawFleet({ address: service.grpc, connections: 8 });
  const zone = (index: number) => `zone-${'abc'[index % 3]}`;
  await fleet.join(
    Array.from({ length: AGENTS }, (_, index) => ({
      id: `agent-${index}`,
      spec: { kind: 'load', labels: { 'topology.kubernetes.io/zone': zone(index) } },
    })),
  );
}, 180_000);

afterAll(async () => {
  fleet?.close();
  await browser?.close();
  await service?.stop();
});

/** Tasks of the page's thread over 50 ms, and how often the ages or figures of the table changed. */
async function watched(page: Page, seconds: number) {
  return await page.evaluate(async (ms) => {
    const long: number[] = [];
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) long.push(Math.round(entry.duration));
    });
    observer.observe({ type: 'longtask' });
    let updates = 0;
    let last = '';
    const timer = setInterval(() => {
      const text = [...document.querySelectorAll('.virtual tbody td')].map((cell) => cell.textContent).join();
      if (text !== last) updates += 1;
      last = text;
    }, 100);
    await new Promise((resolve) => setTimeout(resolve, ms));
    clearInterval(timer);
    observer.disconnect();
    return { long, updates };
  }, seconds * 1_000);
}

test('the first load is small and comes from here alone', async () => {
  const { page, loaded, complaints } = await openTab(browser, service.http);
  await page.goto(`http://${service.http}/`);
  await page.locator('.tile-value').first().waitFor();
  expect(loaded.size).toBeGreaterThan(2);
  // All that was built counts, although a page of another kind may need less.
  const files = readdirSync('dist/web', { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.br'),
  );
  const bytes = files.reduce((sum, name) => sum + statSync(join('dist/web', name)).size, 0);
  console.log(`first load: ${(bytes / 1_024).toFixed(1)} KiB in ${files.length} files`);
  for (const [path, size] of loaded) if (path.endsWith('.js')) expect(size).toBeLessThan(bytes);
  expect(bytes).toBeLessThanOrEqual(MAX_FIRST_LOAD);
  expect(complaints).toEqual([]);
  await page.context().close();
});

test(`${AGENTS} live agents are shown with an update a second and no long task`, async () => {
  const { page } = await openTab(browser, service.http);
  await page.goto(`http://${service.http}/#/agents`);
  await page.getByText(new RegExp(`^${AGENTS.toLocaleString('en')} agents$`)).waitFor({ timeout: 30_000 });
  // What it took to become so is behind it.
  await page.waitForTimeout(3_000);
  const { long, updates } = await watched(page, WATCHED_S);
  console.log(
    `${updates} updates in ${WATCHED_S} s; tasks over 50 ms: ${long.length === 0 ? 'none' : long.join(', ')}`,
  );
  expect(updates).toBeGreaterThanOrEqual(WATCHED_S - 1);
  expect(long.filter((ms) => ms > MAX_LONG_TASK_MS)).toEqual([]);
  const rows = await page.locator('.virtual tbody tr:not(.spacer)').count();
  expect(rows).toBeLessThan(80);
  await page.context().close();
});

test('the table is scrolled and searched without a pause that is felt', async () => {
  const { page } = await openTab(browser, service.http);
  await page.goto(`http://${service.http}/#/agents`);
  await page.getByText(new RegExp(`^${AGENTS.toLocaleString('en')} agents$`)).waitFor({ timeout: 30_000 });
  const usual = await page.evaluate(async () => {
    const port = document.querySelector('.virtual');
    const frames: number[] = [];
    for (let step = 0; step < 60 && port !== null; step += 1) {
      const began = performance.now();
      port.scrollTop += 1_500;
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      frames.push(performance.now() - began);
    }
    return frames.sort((a, b) => a - b)[frames.length >> 1] ?? 0;
  });
  console.log(`usual frame of scrolling: ${usual.toFixed(0)} ms`);
  expect(usual).toBeLessThan(100);
  await page.getByRole('searchbox').fill('zone-b agent-29');
  await page.getByText(/^\d+ of /).waitFor();
  await page.context().close();
});
