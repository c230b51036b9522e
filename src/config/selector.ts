import { shown } from './errors.ts';

const NAME = '[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?';
const KEY = `(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?${NAME}`;
const VALUES = `\\(\\s*${NAME}(?:\\s*,\\s*${NAME})*\\s*\\)`;
const REQUIREMENT = new RegExp(
  `^(?:!\\s*${KEY}|${KEY}|${KEY}\\s*(?:=|==|!=)\\s*(?:${NAME})?|${KEY}\\s+(?:in|notin)\\s*${VALUES})$`,
);

/**
 * What is wrong with a label selector (Kubernetes syntax: `env=prod,tier in (a, b),!old`), or undefined. Only the
 * syntax: which agents match is the domain's business.
 */
export function selectorFault(text: string): string | undefined {
  if (text.length > 1_024) return `the selector ${shown(text)} is longer than 1024 characters`;
  // Commas inside parentheses separate values, the others requirements.
  const requirements = text.split(/,(?![^()]*\))/).map((part) => part.trim());
  const wrong = requirements.find((requirement) => !REQUIREMENT.test(requirement));
  if (wrong === undefined) return undefined;
  return `${shown(text)} is neither all_agents nor a label selector such as "env=prod,tier in (a, b),!old"`;
}
