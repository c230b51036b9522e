import { Empty } from '../components/card.tsx';

export function TasksPage() {
  return <Empty title="This page is to come" />;
}
