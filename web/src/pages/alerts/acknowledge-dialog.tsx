import type { Alert } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { FormDialog, TextField, textOf } from '../../components/form.tsx';
import { call, requestId } from '../../live/client.ts';

/** Somebody looks after it, or does so no more. */
export function AcknowledgeDialog({
  alert,
  withdraw,
  onClose,
}: {
  alert: Alert;
  withdraw: boolean;
  onClose(): void;
}) {
  return (
    <FormDialog
      title={withdraw ? 'Withdraw the acknowledgement' : `Acknowledge ${alert.rule}`}
      button={withdraw ? 'Withdraw' : 'Acknowledge'}
      onClose={onClose}
      submit={async (data) => {
        const comment = textOf(data, 'comment');
        await call('AlertService', 'acknowledgeAlert', {
          alertId: alert.id,
          comment,
          withdraw,
          requestId: requestId(),
        });
        return withdraw ? 'It fires again.' : 'Acknowledged: it is marked as looked after until it is over.';
      }}
    >
      <p>{alert.summary}</p>
      <TextField name="comment" label="What is being done" />
    </FormDialog>
  );
}
