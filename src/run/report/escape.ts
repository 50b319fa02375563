const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Text as HTML text or attribute value: what models write is not to be trusted. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => names[c] as string);
