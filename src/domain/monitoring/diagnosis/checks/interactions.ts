import { create } from '@bufbuild/protobuf';
import { Relationship_Type } from '../../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type {
  ListMessageLinksRequest,
  MessageLink,
} from '../../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { ListMessageLinksRequestSchema } from '../../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { AgentDirectory } from '../../../agent/directory.ts';
import { agentOf } from '../../../agent/record.ts';
import type { Check, Found, Scope } from '../check.ts';
import { count, few, percent } from '../words.ts';

export interface InteractionsOptions {
  directory: AgentDirectory;
  /** What this replica counted of each pair. */
  links: { list(request: ListMessageLinksRequest, namespace: string): MessageLink[] };
}

/** A pair of which fewer messages ended is not judged. */
const JUDGED_MESSAGES = 10;
const FAILING_SHARE = 0.25;

/** Who needs whom, and whether what they say to each other arrives. */
export function checkInteractions(options: InteractionsOptions): Check {
  return {
    id: 'system_coordination.check_interactions',
    step: 1,
    async run(scope) {
      const found: Found[] = [];
      let relationships = 0;
      let pairs = 0;
      for (const namespace of scope.namespaces) {
        const there = await dangling(options.directory, namespace, scope);
        relationships += there.count;
        found.push(...there.found);
        const links = options.links.list(create(ListMessageLinksRequestSchema), namespace);
        pairs += links.length;
        found.push(...failing(links, namespace));
      }
      const well = `${count(relationships, 'relationship')} lead to agents that are there; ${count(pairs, 'pair')} of agents exchange messages, and none fails often.`;
      return { found, well };
    },
  };
}

async function dangling(
  directory: AgentDirectory,
  namespace: string,
  scope: Scope,
): Promise<{ count: number; found: Found[] }> {
  const needed: { id: string; other: string; words: string }[] = [];
  let relationships = 0;
  for (const { id, record } of directory.all(namespace)) {
    await scope.breathe();
    for (const { type, agentId } of agentOf(record).spec?.relationships ?? []) {
      relationships += 1;
      if (directory.get(namespace, agentId) !== undefined) continue;
      const words = type === Relationship_Type.SUPERVISED_BY ? 'is supervised by' : 'depends on';
      needed.push({ id, other: agentId, words });
    }
  }
  if (needed.length === 0) return { count: relationships, found: [] };
  const missing = [...new Set(needed.map(({ other }) => other))];
  const summary = `${count(missing.length, 'agent')} that others have a relationship to ${missing.length === 1 ? 'is' : 'are'} not registered: ${few(missing)}.`;
  return {
    count: relationships,
    found: [
      {
        code: 'relationship_dangling',
        severity: Finding_Severity.WARNING,
        summary,
        evidence: needed.map(({ id, words, other }) => `${id} ${words} ${other}`),
        advice: `Register them, or take the relationship away: orchestrator agents update ${needed[0]?.id ?? ''} --help`,
        namespace,
        subjects: needed.map(({ id }) => id),
      },
    ],
  };
}

function failing(links: readonly MessageLink[], namespace: string): Found[] {
  const bad = links.flatMap(({ sender, receiver, done, failed }) => {
    const ended = Number(done + failed);
    const share = ended === 0 ? 0 : Number(failed) / ended;
    if (ended < JUDGED_MESSAGES || share < FAILING_SHARE) return [];
    return [{ sender, receiver, ended, share }];
  });
  if (bad.length === 0) return [];
  return [
    {
      code: 'messages_failing',
      severity: Finding_Severity.WARNING,
      summary: `Messages between ${count(bad.length, 'pair')} of agents fail often.`,
      evidence: bad.map(
        ({ sender, receiver, ended, share }) =>
          `${sender} to ${receiver}: ${percent(share)} of ${ended} failed or were given up`,
      ),
      advice: 'See why: orchestrator dead-letters list, and orchestrator messages tail.',
      namespace,
      subjects: bad.map(({ receiver }) => receiver),
    },
  ];
}
