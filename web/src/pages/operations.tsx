import { Empty } from '../components/card.tsx';

export function OperationsPage() {
  return <Empty title="This page is to come" />;
}
