import type { Config } from '../config.ts';
import type { ConfigFault } from '../errors.ts';
import { shown } from '../errors.ts';
import { BUILTIN_RULE_NAMES } from '../metric-names.ts';
import { didYouMean } from '../suggest.ts';
import type { ParsedBlock } from './parse.ts';

type Lists = ReadonlyMap<string, readonly ParsedBlock[]>;

/** What is wrong between lists, or between a list and other keys. */
export function crossFaults(config: Config, lists: Lists): ConfigFault[] {
  const rules = lists.get('alerts.rules') ?? [];
  return [...unknownSinks(rules, lists.get('alerts.sinks') ?? []), ...clearsOfBuiltins(rules, config)];
}

function unknownSinks(rules: readonly ParsedBlock[], sinks: readonly ParsedBlock[]): ConfigFault[] {
  // Of a sink without a proper name one cannot say that it is not meant.
  if (sinks.some(({ wrong }) => wrong.has('name'))) return [];
  const names = sinks.map(({ values }) => String(values.name));
  return rules.flatMap(({ path, values, at }) => {
    const named = (values.sinks ?? []) as readonly string[];
    return named.flatMap((name, index): ConfigFault[] => {
      if (names.includes(name)) return [];
      const message = `there is no sink ${shown(name)} in alerts.sinks${didYouMean(name, names)}`;
      return [{ path: `${path}.sinks[${index}]`, source: at('sinks'), message }];
    });
  });
}

/** Built-in rules get their thresholds from keys of their own, which a rule's `clear` must fit. */
function clearsOfBuiltins(rules: readonly ParsedBlock[], config: Config): ConfigFault[] {
  const { systemLoad, agentHealth, resourceUsage, communicationLatencyMs } = config.alertThresholds;
  const thresholds: Readonly<Record<string, number | undefined>> = {
    system_load: systemLoad,
    agent_health: agentHealth,
    resource_usage: resourceUsage,
    communication_latency: communicationLatencyMs,
  };
  return rules.flatMap(({ path, values, at, wrong }): ConfigFault[] => {
    const builtin = BUILTIN_RULE_NAMES.find(({ name }) => name === values.name);
    const threshold = builtin?.threshold ?? thresholds[String(values.name)];
    const { above, below, clear } = values;
    if (builtin === undefined || threshold === undefined || typeof clear !== 'number') return [];
    if (above !== undefined || below !== undefined || wrong.has('above') || wrong.has('below')) return [];
    if (builtin.below === true ? clear >= threshold : clear <= threshold) return [];
    const side = builtin.below === true ? 'below' : 'above';
    const message = `is on the wrong side: it must not be ${side} the threshold ${threshold}`;
    return [{ path: `${path}.clear`, source: at('clear'), message }];
  });
}
