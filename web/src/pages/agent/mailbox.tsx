import type { ExplainAgentResponse } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { Badge } from '../../components/badge.tsx';
import { Card, Empty } from '../../components/card.tsx';
import { ScrollX } from '../../components/scroll-x.tsx';
import { plural, span } from '../../lib/format.ts';
import { durationMs } from '../../lib/time.ts';

/** What waits for it or is with it. */
export function MailboxCard({ explanation }: { explanation: ExplainAgentResponse }) {
  const { mailbox, mailboxSize } = explanation;
  return (
    <Card
      title="Deliveries"
      flush
      aside={mailboxSize > 0 ? plural(mailboxSize, 'delivery', 'deliveries') : undefined}
    >
      {mailbox.length === 0 ? (
        <Empty title="Its mailbox is empty" />
      ) : (
        <ScrollX label="Deliveries">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">What</th>
                <th scope="col">State</th>
                <th scope="col" class="number">
                  Tries
                </th>
                <th scope="col" class="number">
                  Age
                </th>
              </tr>
            </thead>
            <tbody>
              {mailbox.map(({ work, item, accepted, tries, age, waitsFor }) => (
                <tr key={work?.deliveryId}>
                  <th scope="row">
                    {item}
                    <div class="cell-note mono">{work?.deliveryId}</div>
                  </th>
                  <td>
                    {accepted ? (
                      <Badge tone="ok" mark="play" word="taken on" plain />
                    ) : (
                      <Badge tone="info" mark="clock" word="waits" plain />
                    )}
                    <div class="cell-note">{waitsFor}</div>
                  </td>
                  <td class="number">{tries}</td>
                  <td class="number">{span(durationMs(age) ?? 0)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollX>
      )}
    </Card>
  );
}
