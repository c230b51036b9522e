import { MessageService } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { LinkPolicies } from '../domain/coordination/links/link-policies.ts';
import type { Calls } from '../domain/coordination/messages/calls.ts';
import type { DeadLetters } from '../domain/coordination/messages/dead-letters.ts';
import type { Messages } from '../domain/coordination/messages/messages.ts';
import type { Subscriptions } from '../domain/coordination/messages/subscriptions.ts';
import type { LinkCounts } from '../domain/coordination/traffic/link-counts.ts';
import { listMessageLinks } from '../domain/coordination/traffic/message-links.ts';
import { type MessageWatchOptions, watchMessages } from '../domain/coordination/traffic/message-watch.ts';
import { namespaceOf } from '../domain/namespaces.ts';
import { callerOf } from './caller.ts';
import { bindService, type ServiceBinding } from './service.ts';

export interface MessageServiceOptions {
  messages: Messages;
  calls: Calls;
  subscriptions: Subscriptions;
  deadLetters: DeadLetters;
  linkPolicies: LinkPolicies;
  traffic: MessageWatchOptions & { counts: LinkCounts; replicaId: string };
}

export function createMessageService(options: MessageServiceOptions): ServiceBinding {
  const { messages, calls, subscriptions, deadLetters, linkPolicies, traffic } = options;
  return bindService(MessageService, {
    sendMessage: (request, context) => {
      const { send, sessionEpoch } = request;
      if (send === undefined) throw new Error('a request without its message passed validation');
      return messages.send(namespaceOf(request), send, { caller: callerOf(context), sessionEpoch });
    },
    callAgent: (request, context) =>
      calls.call(request, callerOf(context), { signal: context.signal, timeLeftMs: context.timeLeftMs() }),
    createSubscription: (request, context) => subscriptions.create(request, callerOf(context)),
    deleteSubscription: (request) => subscriptions.delete(request),
    listSubscriptions: async (request) => subscriptions.list(request),
    listDeliveries: async (request) => deadLetters.deliveries(request),
    listDeadLetters: (request) => deadLetters.list(request),
    redriveDeadLetters: (request, context) => deadLetters.redrive(request, callerOf(context)),
    watchMessages: (request, context) => watchMessages(request, context.signal, traffic),
    listMessageLinks: async (request) => listMessageLinks(request, traffic),
    setLinkPolicy: (request, context) => linkPolicies.set(request, callerOf(context)),
    deleteLinkPolicy: (request, context) => linkPolicies.delete(request, callerOf(context)),
    listLinkPolicies: async (request) => linkPolicies.list(request),
  });
}
