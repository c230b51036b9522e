const notInLine = /[\p{Cc}\p{Zl}\p{Zp}\p{Surrogate}]+/gu;
const notInProse = /(?![\t\n\r])[\p{Cc}\p{Surrogate}]/gu;

/** One line of at most `max` characters (code points), as the service takes it. */
export function line(text: string, max = 128): string {
  return cut(text.slice(0, max * 4).replace(notInLine, ' '), max).trim();
}

/** Text for people of at most `max` characters (code points), as the service takes it. */
export function prose(text: string, max: number): string {
  return cut(text.slice(0, max * 4).replace(notInProse, '\ufffd'), max);
}

/** The first `max` code points; the last one kept is an ellipsis if there are more. */
function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const characters = [...text];
  return characters.length <= max ? text : `${characters.slice(0, max - 1).join('')}…`;
}
