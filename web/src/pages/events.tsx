import { Empty } from '../components/card.tsx';

export function EventsPage() {
  return <Empty title="This page is to come" />;
}
