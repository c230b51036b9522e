import { displayWidth, type Line, plain, renderLine, type Span, type Style } from './text.ts';

/** Where the lines of something that is not shown on a terminal are broken. */
const USUAL = 100;

/** A sentence over as many lines as it takes; `first` stands before the first, blanks of its width before the others. */
export function wrapped(text: string, style: Style, first: Line = []): string[] {
  const lead = first.reduce((sum, span) => sum + displayWidth(span.text), 0);
  const room = Math.max(20, (style.columns ?? USUAL) - lead);
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/).filter((each) => each !== '')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line === '' || displayWidth(longer) <= room) line = longer;
    else {
      lines.push(line);
      line = word;
    }
  }
  lines.push(line);
  const blank: Span = plain(' '.repeat(lead));
  return lines.map((each, at) => renderLine([...(at === 0 ? first : [blank]), plain(each)], style));
}
