import { create } from '@bufbuild/protobuf';
import {
  AgentService,
  GetAgentResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { AgentReader } from '../domain/agent/agent-reader.ts';
import { type AgentWatchOptions, watchAgents } from '../domain/agent/agent-watch.ts';
import type { Agents } from '../domain/agent/agents.ts';
import type { Automation } from '../domain/agent/automation.ts';
import type { ProcessExits } from '../domain/agent/care/process-exits.ts';
import { agentNotFound } from '../domain/agent/errors.ts';
import { type ExplainInput, explainAgent } from '../domain/agent/explain.ts';
import type { Orders } from '../domain/agent/orders.ts';
import type { Sessions } from '../domain/agent/sessions.ts';
import { namespaceOf } from '../domain/namespaces.ts';
import type { Views } from '../state/views.ts';
import { callerOf } from './caller.ts';
import { revisionWait } from './revision-wait.ts';
import { bindService, type ServiceBinding } from './service.ts';

export interface AgentServiceOptions {
  agents: Agents;
  orders: Orders;
  automation: Automation;
  reader: AgentReader;
  sessions: Sessions;
  views: Views;
  watch: AgentWatchOptions;
  explain: Omit<ExplainInput, 'known' | 'session' | 'agent' | 'exits'>;
  exits: Pick<ProcessExits, 'read'>;
}

export function createAgentService(options: AgentServiceOptions): ServiceBinding {
  const { agents, orders, automation, reader, sessions, views } = options;

  const seen = revisionWait(views);

  return bindService(AgentService, {
    registerAgent: (request, context) => agents.register(request, callerOf(context)),
    getAgent: async (request, context) => {
      await seen(request, context);
      const namespace = namespaceOf(request);
      const agent = reader.get(namespace, request.agentId);
      return create(GetAgentResponseSchema, { agent, revision: views.position(namespace).revision });
    },
    listAgents: async (request, context) => {
      await seen(request, context);
      return reader.list(request);
    },
    watchAgents: (request, context) => watchAgents(request, context.signal, options.watch),
    updateAgent: (request, context) => agents.update(request, callerOf(context)),
    deregisterAgent: (request, context) => agents.deregister(request, callerOf(context)),
    drainAgent: (request, context) => orders.drain(request, callerOf(context)),
    resumeAgent: (request, context) => orders.resume(request, callerOf(context)),
    restartAgent: (request, context) => orders.restart(request, callerOf(context)),
    stopAgent: (request, context) => orders.stop(request, callerOf(context)),
    quarantineAgent: (request, context) => orders.quarantine(request, callerOf(context)),
    confirmLoss: (request, context) => automation.confirmLoss(request, callerOf(context)),
    setAutomation: (request, context) => automation.set(request, callerOf(context)),
    explainAgent: async (request) => {
      const namespace = namespaceOf(request);
      const known = options.watch.directory.get(namespace, request.agentId);
      if (known === undefined) throw agentNotFound(namespace, request.agentId);
      const session = sessions.get(namespace, request.agentId);
      const exits = await options.exits.read(namespace, known.id);
      return explainAgent({ ...options.explain, known, session, agent: reader.present(known), exits });
    },
  });
}
