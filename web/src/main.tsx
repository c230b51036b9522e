import { render } from 'preact';
import './styles/base.css';
import './styles/frame.css';
import './styles/parts.css';
import './styles/pages.css';
import { App } from './app.tsx';
import { listenForShortcuts } from './shell/shortcuts.tsx';

const root = document.getElementById('app');
if (root !== null) render(<App />, root);
listenForShortcuts();
