import { Empty } from '../components/card.tsx';

export function ResourcesPage() {
  return <Empty title="This page is to come" />;
}
