import { mkdirSync, writeFileSync } from 'node:fs';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServiceProcess } from '../support/service.ts';
import { pause } from '../support/until.ts';
import { type Look, launch, openTab, type Size, type Tab, violations } from './support/browser.ts';
import { DemoFleet } from './support/demo-fleet.ts';

/** Each page, with what it shows once it is there. */
const PAGES: readonly [name: string, address: string, shows: string][] = [
  ['overview', '#/', '.tile-value'],
  ['agents', '#/agents', '.virtual tbody th a'],
  ['agent', '#/agents/summarizer-1', '.signal-value'],
  ['topology', '#/topology', 'main > *'],
  ['tasks', '#/tasks', 'main > *'],
  ['resources', '#/resources', '.resource-bars'],
  ['operations', '#/operations', 'main > *'],
  ['alerts', '#/alerts', '.alert-item, .empty'],
  ['alert-rules', '#/alerts?tab=rules', 'tbody tr'],
  ['silences', '#/alerts?tab=silences', 'tbody tr'],
  ['sinks', '#/alerts?tab=sinks', 'tbody tr, .empty'],
  ['events', '#/events', 'main > *'],
];
/** SCREENSHOTS=1 renews the pictures of the documents. */
const PICTURES = process.env.SCREENSHOTS === '1' ? 'docs/images' : undefined;
const PICTURED = new Set([
  'overview',
  'agents',
  'agent',
  'topology',
  'tasks',
  'resources',
  'operations',
  'alerts',
  'events',
]);

let service: ServiceProcess;
let fleet: DemoFleet;
let browser: Browser;

beforeAll(async () => {
  const SINKS = `[{name: on-call, kind: webhook, url: "http://127.0.0.1:9/"}]`;
  service = await ServiceProcess.start({
    env: { ORCHESTRATOR_ALERTS_SINKS: SINKS, ORCHESTRATOR_SESSION_PING_INTERVAL: '1s' },
  });
  [fleet, browser] = await Promise.all([DemoFleet.start(service), launch()]);
  if (PICTURES !== undefined) {
    mkdirSync(PICTURES, { recursive: true });
    await pause(Number(process.env.SCREENSHOTS_AFTER_S ?? 0) * 1_000);
  }
});

afterAll(async () => {
  await browser?.close();
  await fleet?.stop();
  await service?.stop();
});

describe.each<[Look, Size]>([
  ['light', 'desktop'],
  ['dark', 'desktop'],
  ['light', 'phone'],
])('in %s, on a %s', (look, size) => {
  let tab: Tab;

  beforeAll(async () => {
    tab = await openTab(browser, service.http, { look, size });
    await tab.page.goto(`http://${service.http}/`);
  });

  afterAll(async () => {
    await tab?.page.context().close();
  });

  test.each(PAGES)(
    'the page %s has what it is for, no fault that axe finds, and no errors',
    async (name, address, shows) => {
      const { page, complaints } = tab;
      complaints.length = 0;
      await page.goto(`http://${service.http}/${address}`);
      await page.waitForSelector(shows);
      await page.waitForSelector('.link.tone-ok');
      expect(await violations(page)).toEqual([]);
      // The window never scrolls sideways: what is wide scrolls in its own place.
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(beyond).toBeLessThanOrEqual(0);
      if (PICTURES !== undefined && isPictured(name, look, size)) {
        await page.waitForTimeout(3_000);
        const suffix = `${look === 'dark' ? '-dark' : ''}${size === 'phone' ? '-phone' : ''}`;
        writeFileSync(`${PICTURES}/${name}${suffix}.png`, await page.screenshot());
      }
      expect(complaints).toEqual([]);
    },
  );
});

/** The documents show each page in light; the overview also in dark and, with agents, on a phone. */
function isPictured(name: string, look: Look, size: Size): boolean {
  if (size === 'phone') return look === 'light' && ['overview', 'agents'].includes(name);
  return look === 'light' ? PICTURED.has(name) : name === 'overview';
}
